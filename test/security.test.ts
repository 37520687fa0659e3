// Clients of another user that attack with the lease they were handed. Needs root to be another
// user; otherwise they attack as the same one.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../src/os/clock.js';
import { type Attack, startAttacker } from './support/attacker.js';
import { BrokerFixture, isRoot, nothingLeft, otherUid } from './support/broker-fixture.js';
import { type Bystander, startBystander } from './support/bystander.js';
import { startClient } from './support/client-process.js';

const attackMs = 700;
const user = isRoot ? `uid ${otherUid}` : 'the same uid (another needs root)';

let broker: BrokerFixture;
let bystander: Bystander;

beforeAll(async () => {
  broker = await BrokerFixture.start({ socketMode: 0o666 });
  bystander = await startBystander(broker);
});

afterAll(async () => {
  await bystander.expectUndisturbed();
  expect(await broker.leftOver()).toEqual(nothingLeft);
  await bystander.actor[Symbol.asyncDispose]();
  expect(await broker.stop()).toBe(0);
  await broker[Symbol.asyncDispose]();
});

/** Times of answers to another client until `until`, in ascending order, in milliseconds. */
async function answerTimes(until: Promise<unknown>): Promise<readonly number[]> {
  let over = false;
  void until.finally(() => {
    over = true;
  });
  const times: number[] = [];
  while (!over) {
    const startMs = systemClock.nowMs();
    await broker.control.info();
    times.push(systemClock.nowMs() - startMs);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return times.sort((one, other) => one - other);
}

async function attack(
  kind: Attack['kind'],
  terms: { readonly slice?: string } = {},
): Promise<{ seen: string; id: string }> {
  const handover = await broker.control.acquireForHandover({
    memoryBytes: 1024 * 1024,
    holder: 'fd',
    ...terms,
  });
  const { id } = handover.record;
  const victimIova = bystander.taken.dataIova + 8192;
  const { pasid: victimPasid = 0 } = bystander.taken;
  expect(victimPasid).toBeGreaterThan(0);
  expect(victimPasid).not.toBe(handover.record.pasid);
  const facts = { kind, victimIova, victimPasid, durationMs: attackMs };
  await using attacker = startAttacker(handover, facts);
  const times = await answerTimes(attacker.report);
  const { seen, uid } = await attacker.report;
  expect(uid).toBe(isRoot ? otherUid : process.getuid?.());
  expect(times.length).toBeGreaterThan(10);
  // Nine of ten: now and then a busy machine takes the processor from everybody.
  expect(times[Math.floor(times.length * 0.9)]).toBeLessThan(100);
  await attacker[Symbol.asyncDispose]();
  await broker.endOf(id);
  return { seen, id };
}

describe(`an attack by ${user}`, () => {
  test('with kicks by message, as many as it can', async () => {
    const { seen } = await attack('floodKicks');
    expect(seen).toMatch(/^\d{3,} kicks$/);
  });

  test('with frames, as many as it can', async () => {
    const { seen } = await attack('floodFrames');
    expect(seen).toMatch(/^\d{3,} frames$/);
  });

  test('by never taking an answer', async () => {
    const { seen } = await attack('neverRead');
    expect(seen).toBe('sent');
  });

  test('on the memory of its window', async () => {
    const { seen, id } = await attack('truncate');
    expect(seen).toBe('truncated: EPERM');
    expect(await broker.endOf(id)).toMatch(/^broken/);
  });

  test('on addresses of another lease', async () => {
    const { seen, id } = await attack('foreignIova');
    expect(seen).toBe('DEVICE_FAULT, DEVICE_FAULT, nothing read');
    const faults = broker.events.filter(({ type, lease }) => type === 'fault' && lease === id);
    expect(faults.map(({ fault }) => fault?.access)).toEqual(['read', 'write']);
    const { dataIova } = bystander.taken;
    for (const { fault } of faults) expect(fault?.iova).toBe(dataIova + 8192);
  });

  test('with the PASID of another lease in its descriptors', async () => {
    const { seen, id } = await attack('foreignPasid');
    // Its own one works, so it is not the tag that is refused.
    expect(seen).toBe(`done${', DEVICE_FAULT 0'.repeat(4)}`);
    const faults = broker.events.filter(({ type, lease }) => type === 'fault' && lease === id);
    expect(faults.length).toBeGreaterThan(0);
    for (const { fault } of faults) expect(fault?.reason).toBe('wrong pasid');
  });

  test('on the register that holds its PASID', async () => {
    const { seen } = await attack('programPasid');
    expect(seen).toBe('some refused; done, DEVICE_FAULT 0, DEVICE_FAULT 0');
  });
});

test('an exclusive lease has one PASID, and does not program it either', async () => {
  await using alone = await BrokerFixture.start({ queues: 2 });
  const handover = await alone.control.acquireForHandover({
    memoryBytes: 65_536,
    holder: 'fd',
    exclusive: true,
  });
  const { pasid = 0, exclusive, isolation } = handover.record;
  expect({ pasid, exclusive, isolation }).toEqual({
    pasid: 1,
    exclusive: true,
    isolation: 'pasid',
  });
  await using attacker = startAttacker(handover, {
    kind: 'programPasid',
    victimIova: 0,
    victimPasid: pasid + 1,
    durationMs: attackMs,
  });
  expect((await attacker.report).seen).toBe('some refused; done, DEVICE_FAULT 0, DEVICE_FAULT 0');
});

describe('the attacks succeed where nothing stands against them:', () => {
  test('on addresses, under cooperative isolation', async () => {
    await using weak = await BrokerFixture.start({
      queues: 2,
      isolation: 'cooperative',
      switches: { allowCooperative: true },
    });
    const victim = await weak.control.acquire({ memoryBytes: 65_536 });
    const data = await victim.memory.allocate(4096);
    data.u8.fill(9);
    const handover = await weak.control.acquireForHandover({ memoryBytes: 65_536, holder: 'fd' });
    await using attacker = startAttacker(handover, {
      kind: 'foreignIova',
      victimIova: data.iova,
      victimPasid: 0,
      durationMs: attackMs,
    });
    expect((await attacker.report).seen).toBe('copied, copied, read');
    await victim.close();
  });

  test('on the PASID, with a driver that shows its registers', async () => {
    await using weak = await BrokerFixture.start({ queues: 2, weakDriver: true });
    const victim = await weak.control.acquire({ memoryBytes: 65_536, slice: 'queue0' });
    const handover = await weak.control.acquireForHandover({
      memoryBytes: 65_536,
      holder: 'fd',
      slice: 'queue1',
    });
    await using attacker = startAttacker(handover, {
      kind: 'programPasid',
      victimIova: 0,
      victimPasid: victim.record.pasid ?? 0,
      durationMs: attackMs,
    });
    const { seen } = await attacker.report;
    expect(seen).toMatch(/^some refused; /);
    // Its queue presents the victim's number now: its rings are not in that address space.
    expect(seen).toBe('some refused; DEVICE_FAULT 0, DEVICE_FAULT 0, DEVICE_FAULT 0');
    await victim.close();
  });
});

describe('another user', () => {
  test.skipIf(!isRoot)('gets no lease and no admin socket (needs root)', async () => {
    await using actor = startClient(broker.socketPath, { uid: otherUid });
    expect(await actor.refused({})).toMatchObject({
      code: 'DENIED',
      errno: 'EACCES',
      message: expect.stringContaining(`uid ${otherUid}`),
    });
    expect(await actor.renew(bystander.taken.id, 1000)).toMatchObject({ code: 'DENIED' });
    expect(await actor.release(bystander.taken.id)).toMatchObject({ code: 'DENIED' });
    await using stranger = startClient(broker.adminPath, { uid: otherUid });
    expect(await stranger.refused({})).toMatchObject({ code: 'DENIED' });
  });
});
