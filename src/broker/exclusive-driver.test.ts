// A driver that cannot tell its slices apart, and whose device reaches less than the IOMMU
// translates: one lease at a time whoever asks, and no IOVA out of the device's reach.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { silentLogger } from '../base/log.js';
import { AdminClient } from '../client/admin.js';
import { type AcquireRequest, Client } from '../client/client.js';
import type { Lease } from '../client/lease.js';
import { mqdmaDriver } from '../driver/mqdma/driver.js';
import type { MqdmaDriverOptions } from '../driver/mqdma/options.js';
import { defineDriver, type RunningDriver } from '../driver/types.js';
import { createOs } from '../os/index.js';
import { createSealedMemory } from '../os/sealed-memory.js';
import { type Broker, createBroker } from './broker.js';
import { createEmbeddedMqdma } from './embedded.js';

const os = createOs();
const helpers = os.createHelpers();
const reach = 2 ** 28;
const bugs: unknown[] = [];
const held: Lease[] = [];
let folder: string;
let broker: Broker;
let client: Client;
let running: RunningDriver;

/** mqdma, whose queues nothing keeps apart. */
const aloneDriver = defineDriver<MqdmaDriverOptions>({
  name: 'alone',
  options: mqdmaDriver.options,
  match: (info) => mqdmaDriver.match(info),
  async start(fn, host) {
    running = await mqdmaDriver.start(fn, host, { isolation: 'cooperative' });
    return {
      slices: running.slices,
      isolation: 'exclusive',
      aperture: { start: 0, end: reach },
      restart: () => running.restart(),
      stop: () => running.stop(),
    };
  },
});

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lessor-alone-'));
  const socketPath = join(folder, 'a.sock');
  const log = silentLogger;
  broker = await createBroker({
    os,
    helpers,
    fn: await createEmbeddedMqdma({
      os,
      helpers,
      name: 'alone0',
      queueCount: 3,
      faultInjection: true,
      log,
    }),
    driver: aloneDriver,
    socketPath,
    adminPath: join(folder, 'a.admin.sock'),
    deadlines: { fencedEndpointMs: 5, quiesceMs: 50, resetSliceMs: 50 },
    log,
    onBug: (error) => bugs.push(error),
  });
  client = new Client(os, socketPath);
});

afterEach(async () => {
  for (const lease of held.splice(0)) await lease.close();
  expect(bugs).toEqual([]);
});

afterAll(async () => {
  client.close();
  await broker.close();
  await helpers[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

async function take(request: Partial<AcquireRequest> = {}): Promise<Lease> {
  const lease = await client.acquire({ memoryBytes: 4096, ...request });
  held.push(lease);
  return lease;
}

test('a lease is alone unasked, and says so', async () => {
  const { record } = await take({ isolation: 'exclusive' });
  expect(record).toMatchObject({ isolation: 'exclusive', exclusive: true });
  expect(broker.isolation).toBe('exclusive');
});

test('another slice is not given meanwhile, and who has one is told', async () => {
  const { record } = await take({ slice: 'queue0' });
  await expect(take({ slice: 'queue1' })).rejects.toMatchObject({
    code: 'NO_FREE_SLICE',
    message: expect.stringContaining(record.id.slice(0, 8)),
  });
  await (held.shift() as Lease).close();
  await take({ slice: 'queue1' });
});

test('many that wait for different slices have the function in turn', async () => {
  let now = 0;
  let most = 0;
  const turns = Array.from({ length: 6 }, async (_, index) => {
    const lease = await client.acquire({
      memoryBytes: 4096,
      slice: `queue${index % 3}`,
      waitMs: 20_000,
    });
    now += 1;
    most = Math.max(most, now);
    await new Promise(setImmediate);
    now -= 1;
    await lease.close();
  });
  await Promise.all(turns);
  expect(most).toBe(1);
});

test('a slice in quarantine keeps the others from being leased: its DMA may still come', async () => {
  const [slice] = running.slices;
  await take({ slice: 'queue0' });
  await running.inject!(slice!, 'never-idle', 1);
  await (held.shift() as Lease).close();
  await expect(take({ slice: 'queue2' })).rejects.toMatchObject({
    code: 'NO_FREE_SLICE',
    message: expect.stringContaining('quarantine'),
  });
  await running.inject!(slice!, 'never-idle', 0);
  const waiting = take({ slice: 'queue2', waitMs: 20_000 });
  const admin = new AdminClient(os, broker.adminPath);
  await admin.releaseQuarantine('queue0');
  admin.close();
  await waiting;
});

test('IOVA windows lie within the reach of the device', async () => {
  await expect(take({ memoryBytes: reach + 1 })).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  });
  // Below 64 KiB there are none.
  await expect(take({ memoryBytes: reach })).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED' });
  const { record } = await take({ memoryBytes: reach - 2 ** 21 });
  expect(record.iovaBase + record.iovaBytes).toBe(reach);
});

test('a map out of the device’s reach is refused', async () => {
  const lease = await take({ memoryBytes: reach - 2 ** 21 });
  const memory = await lease.memory.allocate(4096);
  expect(memory.iova + 4096).toBeLessThanOrEqual(reach);
  const { fd, mapping } = createSealedMemory(os.memory, 'outside', 4096);
  for (const iova of [reach, reach - 4096 + 2 ** 32, 2 ** 47]) {
    await expect(lease.map({ fd, lengthBytes: 4096, iova })).rejects.toMatchObject({
      errno: 'ERANGE',
    });
  }
  mapping[Symbol.dispose]();
  fd.close();
});

test('a VM monitor has the whole reach and nothing besides, without asking to be alone', async () => {
  const path = join(folder, 'vm.sock');
  await using lease = await client.acquire({ memoryBytes: 2 ** 20, listen: { path } });
  expect(lease.record).toMatchObject({ iovaBase: 0, iovaBytes: reach, isolation: 'exclusive' });
  const tooMuch = { memoryBytes: reach + 4096, listen: { path: `${path}2` } };
  await expect(client.acquire(tooMuch)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
});
