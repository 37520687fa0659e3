// A broker whose function another process serves: three processes, message windows, real DMA.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AdminClient } from '../src/client/admin.js';
import type { Client } from '../src/client/client.js';
import { connect, connectAdmin } from '../src/client/index.js';
import type { Lease } from '../src/client/lease.js';
import { Queue } from '../src/client/mqdma/index.js';
import { adminPathOf } from '../src/client/run-directory.js';
import type { EventRecord } from '../src/varlink/interface.js';
import { eventually } from './support/broker-fixture.js';
import { Bench, type Running } from './support/lessor.js';

const script = fileURLToPath(new URL('./support/device-child.js', import.meta.url));
const bench = new Bench();
const path = join(bench.directory, 'device.sock');
const patienceMs = 30_000;
const mebibyte = 1024 ** 2;

let device: ChildProcess;
let broker: Running;
let client: Client;
let admin: AdminClient;
const events: EventRecord[] = [];
const leases: Lease[] = [];

async function serveDevice(queueCount = 4): Promise<void> {
  device = fork(script, [path, `${queueCount}`], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  await once(device, 'message');
}

async function killDevice(): Promise<void> {
  const exit = once(device, 'exit');
  device.kill('SIGKILL');
  await exit;
}

async function acquire(options: Partial<Parameters<Client['acquire']>[0]> = {}): Promise<Lease> {
  const lease = await client.acquire({ memoryBytes: mebibyte, ...options });
  leases.push(lease);
  return lease;
}

/** Nops, and a copy whose every byte is looked at. */
async function work(lease: Lease): Promise<void> {
  const queue = await Queue.create(lease, { entries: 16 });
  const memory = await lease.memory.allocate(65_536);
  for (let round = 0; round < 20; round += 1) await queue.nop();
  memory.u8.subarray(0, 20_000).fill(0x5a);
  await queue.copy({ source: memory.iova, destination: memory.iova + 32_768, lengthBytes: 20_000 });
  expect(memory.u8.subarray(32_768, 52_768).every((byte) => byte === 0x5a)).toBe(true);
  expect(memory.u8[52_768]).toBe(0);
  await queue[Symbol.asyncDispose]();
}

function published(type: string): Promise<EventRecord> {
  return eventually(type, () => events.find((event) => event.type === type), patienceMs);
}

beforeAll(async () => {
  await serveDevice();
  broker = bench.start(['serve', '--json', '--function', `vfio-user:${path}`]);
  const [line] = await broker.saying(/\{.*\}/);
  const { socket } = JSON.parse(line) as { socket: string };
  client = await connect({ socket });
  admin = await connectAdmin({ socket: adminPathOf(socket) });
  client.monitor((event) => events.push(event)).done.catch(() => undefined);
  await client.info();
}, patienceMs);

afterEach(async () => {
  for (const lease of leases.splice(0)) await lease.close();
  events.length = 0;
});

afterAll(async () => {
  client.close();
  admin.close();
  const end = await broker.stop();
  expect(end.stderr).not.toMatch(/a bug in lessor/);
  expect(end.status).toBe(0);
  await killDevice();
  await bench.clear();
});

describe('a lease of a served function', () => {
  test('is labelled server and mediated, and works by message', async () => {
    const info = await client.info();
    expect(info.function).toMatchObject({ isolation: 'server', driver: 'mqdma' });
    const lease = await acquire();
    expect(lease.record).toMatchObject({ isolation: 'server', revocation: 'mediated' });
    expect(lease.windows.map(({ name, kind }) => [name, kind])).toEqual([
      ['queue', 'message'],
      ['status', 'message'],
    ]);
    await work(lease);
  });

  test.each([
    [{ mapped: true }, 'REVOCATION_UNAVAILABLE'],
    [{ isolation: 'device-bounds' }, 'ISOLATION_UNAVAILABLE'],
    [{ isolation: 'exclusive', exclusive: true }, 'ISOLATION_UNAVAILABLE'],
    [{ isolation: 'pasid' }, 'ISOLATION_UNAVAILABLE'],
  ] as const)('is refused to who asks for %j', async (options, code) => {
    await expect(acquire(options)).rejects.toMatchObject({ code });
  });

  test('is given to who asks for no more than there is', async () => {
    const lease = await acquire({ isolation: 'server', revocation: 'kernel', exclusive: true });
    expect(lease.record).toMatchObject({ isolation: 'server', exclusive: true });
    await work(lease);
  });

  test('is kept to its memory by the bounds of the device', async () => {
    const [one, other] = [await acquire(), await acquire()];
    const victim = await other.memory.allocate(4096);
    victim.u8.fill(7);
    const queue = await Queue.create(one);
    const fill = queue.fill({ destination: victim.iova, lengthBytes: 64, pattern: 1n });
    await expect(fill).rejects.toMatchObject({ code: 'DEVICE_FAULT' });
    expect(victim.u8.every((byte) => byte === 7)).toBe(true);
    const fault = await published('fault');
    expect(fault).toMatchObject({ lease: one.record.id, fault: { reason: 'out of bounds' } });
    await work(other);
  });

  test('ends when it is revoked, others go on, and its slice is free again', async () => {
    const [one, other] = [await acquire(), await acquire()];
    const { slice } = one.record;
    const window = one.window('queue');
    await admin.revoke(one.record.id, { reason: 'test' });
    expect((await one.ended).reason).toContain('revoked');
    await expect(window.read32(0)).rejects.toBeDefined();
    await work(other);
    const again = await acquire({ slice, waitMs: patienceMs });
    // What the last holder left in its registers is gone.
    expect(await again.window('queue').read32(0)).toBe(0);
    await work(again);
    expect(events.some(({ type }) => type === 'quarantined')).toBe(false);
  });
});

describe('the death of the server', () => {
  test(
    'ends every lease; the function comes back with its server',
    async () => {
      const { epoch } = (await client.info()).function;
      const [one, other] = [await acquire(), await acquire()];
      const queue = await Queue.create(one);
      await killDevice();
      for (const lease of [one, other]) expect((await lease.ended).reason).toBe('function gone');
      await published('away');
      await expect(queue.nop()).rejects.toBeDefined();
      await expect(acquire()).rejects.toMatchObject({ code: 'NO_FREE_SLICE' });
      await expect(admin.reset()).rejects.toMatchObject({ code: 'SERVER_GONE' });
      const waiting = acquire({ waitMs: patienceMs });
      await serveDevice();
      const next = await waiting;
      expect(next.record.epoch).toBe(epoch + 1);
      await work(next);
      const states = (await client.info()).slices.map(({ state }) => state);
      expect(states.filter((state) => state === 'quarantined')).toEqual([]);
    },
    patienceMs,
  );

  test(
    'in the middle of work loses no lease and no slice',
    async () => {
      for (let round = 0; round < 3; round += 1) {
        const held = await Promise.all([acquire(), acquire(), acquire()]);
        const under = held.map((lease) => work(lease).catch(() => undefined));
        await killDevice();
        await Promise.all(under);
        await Promise.all(held.map((lease) => lease.ended));
        await serveDevice();
        await work(await acquire({ waitMs: patienceMs }));
        for (const lease of leases.splice(0)) await lease.close();
      }
      const held = await Promise.all(Array.from({ length: 4 }, () => acquire()));
      await Promise.all(held.map(work));
    },
    2 * patienceMs,
  );

  test(
    'that stopped answering is noticed, and it is taken back',
    async () => {
      const lease = await acquire();
      device.kill('SIGSTOP');
      await lease
        .window('queue')
        .read32(0)
        .catch(() => undefined);
      expect((await lease.ended).reason).toBe('function gone');
      const waiting = acquire({ waitMs: patienceMs });
      device.kill('SIGCONT');
      await work(await waiting);
    },
    patienceMs,
  );

  test(
    'is final when another device comes in its place',
    async () => {
      const lease = await acquire();
      await killDevice();
      await serveDevice(8);
      expect((await lease.ended).reason).toBe('function gone');
      await published('gone');
      await expect(acquire({ waitMs: 1000 })).rejects.toMatchObject({ code: 'FUNCTION_GONE' });
    },
    patienceMs,
  );
});

describe('serve --function', () => {
  test.each([
    ['vfio-user:/nowhere/device.sock', /ENOENT/],
    ['vfio-user:', /vfio-user:PATH/],
    ['nvme0', /vfio-user:PATH/],
  ])('%s says what is wrong', async (source, why) => {
    const { status, stderr } = await bench.run([
      '--socket',
      join(bench.directory, 'other.sock'),
      'serve',
      '--function',
      source,
    ]);
    expect(status).not.toBe(0);
    expect(stderr).toMatch(why);
  });
});
