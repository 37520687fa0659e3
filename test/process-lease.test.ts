// Leases whose holder has the device itself, with a file in the device's place: who is killed, when
// the slice is free again, and what becomes of it while its holder lives.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeEach, expect, test, vi } from 'vitest';
import { OsError } from '../src/base/errors.js';
import { silentLogger } from '../src/base/log.js';
import { type Broker, createBroker } from '../src/broker/broker.js';
import { createEmbeddedEdu } from '../src/broker/embedded.js';
import type { AdminClient, Client } from '../src/client/index.js';
import { connect, connectAdmin } from '../src/client/index.js';
import { edu } from '../src/device/edu/registers.js';
import { eduDriver } from '../src/driver/index.js';
import type { Driver } from '../src/driver/types.js';
import type { BackingSpec, PciFunction, WindowTerms } from '../src/function/types.js';
import { ProcessWindow } from '../src/function/vfio/process-window.js';
import { createOs } from '../src/os/index.js';
import { type Held, leftStatus } from './kernel/process-window/held.js';
import { eventually } from './support/broker-fixture.js';
import { Bench, type Running } from './support/lessor.js';

const holderProgram = fileURLToPath(new URL('./kernel/process-window/holder.js', import.meta.url));
/** Where the region lies in the file. */
const regionOffsetBytes = 16 * 4096;
const switches = { allowProcess: true, allowCooperative: true };
const deadlines = { holderLeaveMs: 300, holderDieMs: 300, detachMs: 300 };
const stored = 0x1234_5678;

const os = createOs();
const helpers = os.createHelpers();
let bench: Bench;
let broker: Broker;
let client: Client;
let admin: AdminClient;

/** EDU whose registers, for who has it, are a file. */
async function createFunction(): Promise<PciFunction> {
  const fn = await createEmbeddedEdu({ os, helpers, name: 'edu', log: silentLogger });
  const device = os.memory.create('lessor-test-device', regionOffsetBytes + edu.registerBytes);
  using registers = os.memory.map(device, {
    offsetBytes: regionOffsetBytes,
    lengthBytes: 4096,
    writable: true,
  });
  new Uint32Array(registers.buffer)[0] = edu.identification;
  const deviceAreas = [{ offsetBytes: 0, lengthBytes: edu.registerBytes }];
  const { info } = fn;
  const regions = info.regions.map((region) => ({ ...region, mappable: false, deviceAreas }));
  const plain = fn.openWindow.bind(fn);
  const own = fn.registers(edu.registerRegion);
  const openWindow = async (spec: BackingSpec, terms: WindowTerms) => {
    const { holder } = terms;
    if (holder === undefined) return plain(spec, terms);
    return new ProcessWindow({
      spec,
      lengthBytes: 4096,
      region: { fileOffsetBytes: regionOffsetBytes },
      device: device.duplicate(),
      holder,
      access: {
        read: (_region, at) => own.read32(at),
        write: (_region, at, _width, value) => own.write32(at, Number(value)),
      },
      release: () => undefined,
    });
  };
  const end = fn[Symbol.asyncDispose].bind(fn);
  Object.defineProperty(fn, 'info', { value: { ...info, regions } });
  return Object.assign(fn, {
    openWindow,
    [Symbol.asyncDispose]: () => {
      device.close();
      return end();
    },
  });
}

beforeEach(async () => {
  bench = new Bench();
  const [socketPath, adminPath] = ['edu.sock', 'admin.sock'].map((name) =>
    join(bench.directory, name),
  ) as [string, string];
  broker = await createBroker({
    os,
    helpers,
    fn: await createFunction(),
    driver: eduDriver as Driver<unknown>,
    socketPath,
    adminPath,
    switches,
    deadlines,
    log: silentLogger,
  });
  client = await connect({ socket: socketPath });
  admin = await connectAdmin({ socket: adminPath });
});

afterEach(async () => {
  vi.restoreAllMocks();
  client.close();
  admin.close();
  await bench.clear();
  await broker.close();
});

afterAll(() => helpers[Symbol.asyncDispose]());

async function startHolder(manner = 'leaves'): Promise<{ process: Running; held: Held }> {
  const program = [process.execPath, holderProgram];
  const holder = bench.start([client.socketPath, manner], { program, talks: true });
  const [line] = await holder.saying(/\{.*\}\n/);
  return { process: holder, held: JSON.parse(line) as Held };
}

async function state(): Promise<string | undefined> {
  const { slices } = await client.info();
  return slices[0]?.state;
}

const becomes = (wanted: string): Promise<true> =>
  eventually(
    `the slice is ${wanted}`,
    async () => ((await state()) === wanted ? true : undefined),
    20_000,
  );

test('its registers are mapped from where they are in the device', async () => {
  const { held } = await startHolder();
  const { lease: _, ...rest } = held;
  expect(rest).toEqual({
    isolation: 'cooperative',
    revocation: 'process',
    identification: edu.identification,
    inverted: stored,
    // A message goes to the device, which this file is not.
    afterMessage: stored,
  });
  expect((await client.leases())[0]).toMatchObject({ revocation: 'process' });
});

test('a holder is killed when it is revoked, and the next one gets the device', async () => {
  for (const _ of [1, 2]) {
    // It may be as quick as the broker to end, if it does.
    const { process: holder, held } = await startHolder('stays');
    await admin.revoke(held.lease, { graceMs: 0 });
    expect(await holder.finished).toMatchObject({ signal: 'SIGKILL' });
    await becomes('free');
  }
});

test('a holder that leaves is not killed, one that stays is', async () => {
  const leaving = await startHolder();
  leaving.process.tell('leave');
  expect(await leaving.process.finished).toMatchObject({ status: leftStatus, signal: null });
  await becomes('free');
  const staying = await startHolder('stays');
  staying.process.tell('leave');
  expect(await staying.process.finished).toMatchObject({ signal: 'SIGKILL' });
  await becomes('free');
});

test("as long as a holder lives its slice is nobody else's, through a reset too", async () => {
  const { process: holder, held } = await startHolder('stays');
  const kill = vi.spyOn(os.processes, 'signal').mockImplementation(() => {
    throw new OsError('EPERM', 'pidfd_send_signal');
  });
  const wasReset = new Promise((resolve) => {
    broker.onEvent((event) => event.type === 'reset' && resolve(event));
  });
  await admin.revoke(held.lease, { graceMs: 0 });
  await wasReset;
  expect(await state()).toBe('quarantined');
  await expect(admin.releaseQuarantine('edu')).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  expect(await state()).toBe('quarantined');
  kill.mockRestore();
  await holder.stop('SIGKILL');
  await admin.releaseQuarantine('edu');
  expect(await state()).toBe('free');
  await (await client.acquire({ memoryBytes: 4096 })).close();
});

test('the broker gives the device to no process that it could not end', async () => {
  const asked = { memoryBytes: 4096, revocation: 'process', mapped: true };
  await expect(client.acquire(asked)).rejects.toMatchObject({
    code: 'DENIED',
    hint: expect.stringContaining('process of its own'),
  });
  await expect(client.acquire({ ...asked, holder: 'fd' })).rejects.toMatchObject({
    code: 'REVOCATION_UNAVAILABLE',
  });
  expect(await state()).toBe('free');
});

test('a broker that ends takes the device back first', async () => {
  const { process: holder } = await startHolder('stays');
  await broker.close();
  expect(await holder.finished).toMatchObject({ signal: 'SIGKILL' });
});
