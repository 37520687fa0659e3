// Resets of the function, slices that cannot be proved idle, and the end of the broker itself.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { exitStatusOf } from '../src/base/error-table.js';
import type { Client } from '../src/client/client.js';
import { BrokerFixture, nothingLeft, pause } from './support/broker-fixture.js';
import { startClient, type TestActor } from './support/client-process.js';
import { deviceOf, takeRawLease } from './support/raw-lease.js';
import { rootPath } from './tools/root.js';

/** The slice that is made to misbehave. */
const bad = 'queue1';
const program = rootPath('bin/lessor.js');
const allOnes = 0xffff_ffff;
const deadlines = { quiesceMs: 100, resetSliceMs: 100 };

let broker: BrokerFixture;
let client: Client;
const actors: TestActor[] = [];

function start(fixture = broker): TestActor {
  const actor = startClient(fixture.socketPath);
  actors.push(actor);
  return actor;
}

async function sliceState(name: string): Promise<string | undefined> {
  return (await client.info()).slices.find((slice) => slice.name === name)?.state;
}

async function epochNow(): Promise<number> {
  return (await client.info()).function.epoch;
}

/** Somebody works on a slice without a fault. */
async function expectWork(fixture: BrokerFixture, slice?: string): Promise<void> {
  const actor = start(fixture);
  await actor.acquire(slice === undefined ? {} : { slice });
  expect(await actor.work(5)).toBe('ok');
  await actor.close();
  await actor[Symbol.asyncDispose]();
}

beforeAll(async () => {
  broker = await BrokerFixture.start({ queues: 4, deadlines });
  client = await broker.connect();
  await expectWork(broker);
  await broker.countBefore();
});

afterEach(async () => {
  for (const actor of actors.splice(0)) await actor[Symbol.asyncDispose]();
});

afterAll(async () => {
  expect(await broker.leftOver()).toEqual(nothingLeft);
  client.close();
  expect(await broker.stop()).toBe(0);
  await broker[Symbol.asyncDispose]();
});

describe('a reset of the function', () => {
  test('ends every lease, tells all, and makes them stale', async () => {
    const epoch = await epochNow();
    const actor = start();
    await actor.acquire({});
    const raw = await takeRawLease(broker.socketPath, { ttlMs: 60_000 });
    const device = await deviceOf(raw);
    expect(raw.record.epoch).toBe(epoch);

    expect(await broker.admin.reset('test')).toBe(epoch + 1);
    expect(await epochNow()).toBe(epoch + 1);
    expect(await actor.ended()).toEqual({
      status: allOnes,
      queueWord: allOnes,
      revoked: true,
      closed: true,
      reason: 'function reset',
    });
    expect(await broker.endOf(raw.id)).toBe('function reset');
    const stale = { code: 'LEASE_STALE', errno: 'ESTALE' };
    await expect(client.renew(raw.id, 1000)).rejects.toMatchObject(stale);
    await expect(client.release(raw.id)).rejects.toMatchObject(stale);
    await expect(broker.admin.revoke(raw.id)).rejects.toMatchObject(stale);
    const gone = { errno: 'ENODEV' };
    await expect(device.deviceInfo()).rejects.toMatchObject(gone);
    await expect(device.read32(0, 0)).rejects.toMatchObject(gone);
    await expect(device.dmaUnmap('all')).rejects.toMatchObject(gone);
    device.close();
    raw[Symbol.dispose]();
    await expectWork(broker);
  });

  test('serves those that waited, under the new epoch', async () => {
    const leases = await Promise.all([0, 1, 2, 3].map(() => client.acquire({ memoryBytes: 4096 })));
    const waiting = client.acquire({ memoryBytes: 4096, waitMs: 20_000 });
    await pause(40);
    const epoch = await broker.admin.reset();
    const served = await waiting;
    expect(served.record.epoch).toBe(epoch);
    for (const lease of leases) expect((await lease.ended).reason).toBe('function reset');
    await served.close();
    for (const lease of leases) await lease.close();
  });
});

describe('a slice that is never idle', () => {
  async function quarantine(): Promise<string> {
    const lease = await client.acquire({ memoryBytes: 4096, slice: bad });
    await broker.admin.inject(bad, 'never-idle', 1);
    await lease.close();
    const { id } = lease.record;
    expect((await lease.ended).reason).toBe('released');
    await broker.eventOf(id, 'quarantined');
    return id;
  }

  async function expectQuarantined(id: string): Promise<void> {
    const info = await client.info();
    expect(info.quarantined).toEqual([bad]);
    await expect(client.acquire({ memoryBytes: 4096, slice: bad })).rejects.toMatchObject({
      code: 'NO_FREE_SLICE',
      message: expect.stringContaining(`${id.slice(0, 8)} in quarantine`),
    });
    // Its PASID and IOVA window stay out of use with it.
    const { pasids, iovaBytes, fdDirectory, maps } = await broker.admin.inspect();
    fdDirectory.close();
    maps.close();
    expect(pasids).toBe(1);
    expect(iovaBytes).toBeGreaterThan(0);
  }

  test('is kept out of use until the operator vouches for it', async () => {
    const id = await quarantine();
    await expectQuarantined(id);
    await expectWork(broker, 'queue2');
    // Its driver cannot take the PASID back while it is busy.
    await expect(broker.admin.releaseQuarantine(bad)).rejects.toMatchObject({
      code: 'DRIVER_FAILED',
    });
    await expectQuarantined(id);
    await broker.admin.inject(bad, 'never-idle', 0);
    await broker.admin.releaseQuarantine(bad);
    expect(await sliceState(bad)).toBe('free');
    await expect(broker.admin.releaseQuarantine(bad)).rejects.toMatchObject({
      code: 'NOT_QUARANTINED',
    });
    await expectWork(broker, bad);
  });

  test('is freed by a reset of the function', async () => {
    await expectQuarantined(await quarantine());
    await broker.admin.reset();
    expect((await client.info()).quarantined).toEqual([]);
    await expectWork(broker, bad);
  });

  test('can be freed by two operators at once', async () => {
    await quarantine();
    await broker.admin.inject(bad, 'never-idle', 0);
    const answers = await Promise.allSettled([
      broker.admin.releaseQuarantine(bad),
      broker.admin.releaseQuarantine(bad),
    ]);
    expect(answers.some(({ status }) => status === 'fulfilled')).toBe(true);
    await expectWork(broker, bad);
  });
});

describe('a dead function', () => {
  test('keeps slices in quarantine until its reset, and the broker goes on', async () => {
    const actor = start();
    const taken = await actor.acquire({});
    await broker.admin.inject(taken.slice, 'dead', 1);
    await actor.close();
    await broker.eventOf(taken.id, 'quarantined');
    // What cannot be granted is refused, and costs no slice its use after the reset.
    await expect(client.acquire({ memoryBytes: 4096, slice: 'queue3' })).rejects.toMatchObject({
      code: 'DRIVER_FAILED',
    });
    await broker.admin.reset('dead');
    expect((await client.info()).quarantined).toEqual([]);
    await expectWork(broker, taken.slice);
    await expectWork(broker, 'queue3');
  });

  test('that no reset brings back is told to everybody', async () => {
    await using own = await BrokerFixture.start({ queues: 2, deadlines });
    const actor = start(own);
    const { id } = await actor.acquire({ slice: 'queue0' });
    const other = await own.connect();
    const holder = await other.acquire({ memoryBytes: 4096 });
    const waiting = other.acquire({ memoryBytes: 4096, waitMs: 20_000 });
    waiting.catch(() => undefined);
    await pause(40);
    await own.admin.inject('queue0', 'dead', 2);
    const gone = { code: 'FUNCTION_GONE', errno: 'ENODEV' };
    await expect(own.admin.reset()).rejects.toMatchObject(gone);
    expect(await actor.ended()).toMatchObject({ reason: 'function reset', revoked: true });
    await expect(waiting).rejects.toMatchObject(gone);
    await expect(other.acquire({ memoryBytes: 4096 })).rejects.toMatchObject(gone);
    await expect(own.admin.reset()).rejects.toMatchObject(gone);
    await own.endOf(id);
    await holder.close();
    other.close();
    expect(await own.stop()).toBe(0);
  });
});

describe('the end of the broker', () => {
  test('by SIGKILL: clients revoke themselves, and the next broker takes its place', async () => {
    const own = await BrokerFixture.start({ queues: 2 });
    const actor = start(own);
    await actor.acquire({});
    await actor.startWork();
    const raw = await takeRawLease(own.socketPath);
    own.close();
    own.kill('SIGKILL');
    await own.exited;
    const { reason, ...stopped } = await actor.ended();
    expect(stopped).toEqual({
      status: allOnes,
      queueWord: allOnes,
      revoked: true,
      closed: true,
    });
    expect(reason).not.toBe('');
    expect((await actor.stopWork()).wrong).toContain('the lease ended');
    raw[Symbol.dispose]();

    expect(existsSync(own.socketPath)).toBe(true);
    await using next = await BrokerFixture.start({ queues: 2, directory: own.directory });
    expect((await next.control.info()).function.epoch).toBe(raw.record.epoch + 1);
    await expectWork(next);
    await expect(next.control.renew(raw.id, 1000)).rejects.toMatchObject({
      code: 'LEASE_NOT_FOUND',
    });
  });

  test('by SIGTERM: leases are told, requests that wait too, and nothing stays', async () => {
    const own = await BrokerFixture.start({ queues: 2, deadlines });
    const actor = start(own);
    await actor.acquire({ slice: 'queue0' });
    const other = await own.connect();
    const busy = await other.acquire({ memoryBytes: 4096, slice: 'queue1' });
    await own.admin.inject('queue1', 'never-idle', 1);
    const waiting = other.acquire({ memoryBytes: 4096, waitMs: 20_000 });
    waiting.catch(() => undefined);
    await pause(40);
    const startMs = performance.now();
    expect(await own.stop()).toBe(0);
    expect(performance.now() - startMs).toBeLessThan(3000);
    expect(await actor.ended()).toMatchObject({ reason: 'broker stop', status: allOnes });
    expect((await busy.ended).reason).toBe('broker stop');
    await expect(waiting).rejects.toMatchObject({ code: 'BROKER_GONE' });
    expect(existsSync(own.socketPath)).toBe(false);
    expect(existsSync(own.adminPath)).toBe(false);
    await expect(own.connect()).rejects.toMatchObject({ code: 'BROKER_NOT_FOUND' });
    await expect(other.info()).rejects.toMatchObject({ code: 'BROKER_NOT_FOUND' });
    await busy.close();
    other.close();
    await own[Symbol.asyncDispose]();
  });

  test('by its operator', async () => {
    const own = await BrokerFixture.start({ queues: 1 });
    const lease = await own.control.acquire({ memoryBytes: 4096 });
    await own.admin.shutdown();
    expect(await own.exited).toBe(0);
    expect((await lease.ended).reason).toBe('broker stop');
    await own[Symbol.asyncDispose]();
  });

  test('is no end for a second one on its socket, which is refused', async () => {
    const words = [program, '--socket', broker.socketPath, 'serve'];
    const second = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    let told = '';
    second.stderr.on('data', (text) => {
      told += text;
    });
    const [status] = (await once(second, 'close')) as [number];
    expect(told).toContain(`a broker answers on ${broker.socketPath}`);
    expect(status).toBe(exitStatusOf('BROKER_RUNNING'));
    expect((await client.info()).pid).toBe(broker.pid);
  });
});
