// How a lease begins and all the ways in which it ends, with client processes of their own.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Client } from '../src/client/client.js';
import { Queue } from '../src/client/mqdma/index.js';
import { BrokerFixture, eventually, isRoot, otherUid, pause } from './support/broker-fixture.js';
import type { Bystander } from './support/bystander.js';
import { startClient, type TestActor } from './support/client-process.js';
import { deviceOf, takeRawLease } from './support/raw-lease.js';
import { finishStanding, startStanding } from './support/standing-broker.js';

let broker: BrokerFixture;
let bystander: Bystander;
let client: Client;
const actors: TestActor[] = [];

function start(): TestActor {
  const actor = startClient(broker.socketPath);
  actors.push(actor);
  return actor;
}

async function stateOf(id: string): Promise<string | undefined> {
  return (await client.leases()).find((lease) => lease.id === id)?.state;
}

beforeAll(async () => {
  ({ broker, bystander, client } = await startStanding());
});

afterAll(async () => {
  for (const actor of actors) await actor[Symbol.asyncDispose]();
  await finishStanding({ broker, bystander, client });
});

describe('a lease ends', () => {
  test('by release, and its slice is free at once', async () => {
    const lease = await client.acquire({ memoryBytes: 65_536 });
    const { id, slice } = lease.record;
    expect(await stateOf(id)).toBe('active');
    await lease.close();
    expect(await lease.ended).toEqual({ reason: 'released', released: true });
    const { slices } = await client.info();
    expect(slices.find(({ name }) => name === slice)?.state).toBe('free');
  });

  test('by the word of its acquirer on another connection', async () => {
    const actor = start();
    const { id } = await actor.acquire({});
    expect(await actor.release(id)).toBe('ok');
    expect(await actor.ended()).toMatchObject({ reason: 'released', revoked: true });
  });

  test('when its process is killed, although a grandchild keeps its sockets open', async () => {
    const actor = start();
    const { id, pid } = await actor.shareWithChild({});
    actor.kill('SIGKILL');
    await actor.exited;
    expect(await broker.endOf(id)).toBe('holder died');
    // Still there: what ended the lease was not an end-of-file.
    process.kill(pid, 0);
    process.kill(pid, 'SIGKILL');
  });

  test.each(['control', 'lease'] as const)('when its %s connection closes', async (which) => {
    const actor = start();
    const { id } = await actor.closeOne(which, {});
    // Who closes a lease fd that was never enabled says nothing about its end.
    expect(await broker.endOf(id)).toBe(which === 'control' ? 'holder died' : 'released');
    await actor[Symbol.asyncDispose]();
  });

  test('when its time is over, and not before when renewed', async () => {
    const actor = start();
    const { id } = await actor.acquire({ ttlMs: 600 });
    const renewed = await takeRawLease(broker.socketPath, { ttlMs: 600 });
    expect(await client.renew(renewed.id, 60_000)).toBeGreaterThan(Date.now() + 50_000);
    expect(await broker.endOf(id)).toBe('expired');
    expect(await actor.ended()).toMatchObject({ reason: 'expired', status: 0xffff_ffff });
    expect(await stateOf(renewed.id)).toBe('granted');
    await expect(client.renew(renewed.id, 0)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await client.renew(renewed.id, 1);
    expect(await broker.endOf(renewed.id)).toBe('expired');
    renewed[Symbol.dispose]();
  });

  test('by revocation without grace: told, and its windows read all ones', async () => {
    const actor = start();
    const { id } = await actor.acquire({});
    expect((await actor.look()).revoked).toBe(false);
    await broker.admin.revoke(id, { reason: 'test' });
    expect(await actor.revoking()).toEqual({ reason: 'revoked: operator: test', graceMs: 0 });
    expect(await actor.ended()).toEqual({
      status: 0xffff_ffff,
      queueWord: 0xffff_ffff,
      revoked: true,
      closed: true,
      reason: 'revoked: operator: test',
    });
  });

  test('by revocation with grace: no new claims, what there is works until then', async () => {
    const actor = start();
    const { id } = await actor.acquire({});
    await actor.startWork();
    const startMs = performance.now();
    await broker.admin.revoke(id, { reason: 'move', graceMs: 500 });
    expect(await actor.revoking()).toEqual({ reason: 'revoked: operator: move', graceMs: 500 });
    expect(await actor.map()).toMatchObject({ errno: 'ENODEV' });
    expect(await actor.renew(id, 1000)).toMatchObject({ code: 'LEASE_REVOKING' });
    const { rounds, wrong } = await actor.stopWork();
    expect(wrong).toBe('ok');
    expect(rounds).toBeGreaterThan(1);
    expect(await actor.work(5)).toBe('ok');
    expect(performance.now() - startMs).toBeLessThan(450);
    expect(await actor.ended()).toMatchObject({ reason: 'revoked: operator: move' });
    expect(performance.now() - startMs).toBeGreaterThan(495);
  });

  test('by release within the grace, at once', async () => {
    const lease = await client.acquire({ memoryBytes: 4096 });
    await broker.admin.revoke(lease.record.id, { graceMs: 60_000 });
    await lease.close();
    expect((await lease.ended).reason).toMatch(/^(released|revoked)/);
  });
});

describe('a lease for whoever has its descriptor', () => {
  test('survives the process that acquired it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lessor-test-'));
    const report = join(folder, 'report');
    const actor = start();
    const { id, pid } = await actor.handOver(report);
    actor.kill('SIGKILL');
    await actor.exited;
    // Being written, it is empty for a moment.
    const read = (): readonly string[] | undefined => {
      const words = existsSync(report) ? readFileSync(report, 'utf8').split(' ') : [];
      return words.length > 1 ? words : undefined;
    };
    const [first] = await eventually('work with the lease', read);
    await eventually('more work', () => Number(read()?.[0]) > Number(first) + 2);
    expect((await eventually('a report', read)).slice(1)).toEqual(['ok']);
    expect(await stateOf(id)).toBe('active');
    process.kill(pid, 'SIGTERM');
    expect(await broker.endOf(id)).toBe('released');
    rmSync(folder, { recursive: true });
  });

  test('ends with the last copy of the descriptor', async () => {
    const { record, lease } = await client.acquireForHandover({ memoryBytes: 4096, holder: 'fd' });
    const copy = lease.duplicate();
    lease.close();
    await pause(50);
    expect(await stateOf(record.id)).toBe('granted');
    copy.close();
    expect(await broker.endOf(record.id)).toBe('released');
  });
});

describe('a lease in use', () => {
  test('without vectors has no interrupt', async () => {
    const lease = await client.acquire({ memoryBytes: 65_536, vectors: 0 });
    expect(lease.record.vectors).toBe(0);
    expect(() => lease.interrupt(0)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    await lease.close();
  });

  test('is woken by its interrupt from the sleep of a queue', async () => {
    const lease = await client.acquire({ memoryBytes: 65_536 });
    const queue = await Queue.create(lease, { entries: 4, spinMicros: 0 });
    const startMs = performance.now();
    for (let round = 0; round < 20; round += 1) await queue.nop();
    // One interrupt that is lost costs a quarter of a second.
    expect(performance.now() - startMs).toBeLessThan(4000);
    await lease.close();
  });

  test('by message alone works, and has nothing to map', async () => {
    const raw = await takeRawLease(broker.socketPath, { revocation: 'mediated' });
    expect(raw.record.revocation).toBe('mediated');
    const device = await deviceOf(raw);
    for (const region of [0, 2]) {
      const { areas, fd } = await device.regionInfo(region);
      expect([areas, fd]).toEqual([[], undefined]);
    }
    device.close();
    raw[Symbol.dispose]();
    const actor = start();
    await actor.acquire({ revocation: 'mediated' });
    expect(await actor.work(10)).toBe('ok');
    await actor.close();
  });

  test('takes a reset of its slice, with work under way, and works on', async () => {
    const actor = start();
    await actor.acquire({});
    expect(await actor.work(3)).toBe('ok');
    await actor.submit();
    await actor.reset();
    expect(await actor.work(3)).toBe('ok');
    await actor.close();
  });
});

describe('who may renew and release', () => {
  // Root may always: the broker and its clients are somebody else's.
  const uid = isRoot ? otherUid : undefined;
  const as = uid === undefined ? {} : { uid };

  test('the process that acquired the lease, and no other of its uid', async () => {
    await using own = await BrokerFixture.start({ ...as, queues: 2 });
    const [one, other] = [startClient(own.socketPath, as), startClient(own.socketPath, as)];
    const { id } = await one.acquire({ ttlMs: 60_000 });
    expect(await other.renew(id, 50_000)).toMatchObject({ code: 'DENIED', errno: 'EACCES' });
    expect(await other.release(id)).toMatchObject({ code: 'DENIED' });
    expect(await one.renew(id, 50_000)).toBe('ok');
    expect(await one.work(2)).toBe('ok');
    expect(await one.release(id)).toBe('ok');
    await one[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
  });

  test.skipIf(!isRoot)('root (needs root)', async () => {
    await using own = await BrokerFixture.start({ ...as, queues: 2 });
    await using holder = startClient(own.socketPath, as);
    const { id } = await holder.acquire({ ttlMs: 60_000 });
    await own.control.renew(id, 50_000);
    await own.control.release(id);
    expect(await holder.ended()).toMatchObject({ reason: 'released' });
  });
});
