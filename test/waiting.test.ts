// Requests that wait for a slice, and leases of the whole function.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AcquireRequest, Client } from '../src/client/client.js';
import type { Lease } from '../src/client/lease.js';
import { BrokerFixture, nothingLeft, pause } from './support/broker-fixture.js';
import { startClient } from './support/client-process.js';

let broker: BrokerFixture;
let client: Client;
const held: Lease[] = [];

beforeAll(async () => {
  broker = await BrokerFixture.start({ queues: 3 });
  client = await broker.connect();
  await (await client.acquire({ memoryBytes: 4096 })).close();
  await broker.countBefore();
});

afterEach(async () => {
  for (const lease of held.splice(0)) await lease.close();
});

afterAll(async () => {
  expect(await broker.leftOver()).toEqual(nothingLeft);
  client.close();
  expect(await broker.stop()).toBe(0);
  await broker[Symbol.asyncDispose]();
});

async function take(request: Partial<AcquireRequest> = {}): Promise<Lease> {
  const lease = await client.acquire({ memoryBytes: 4096, ...request });
  held.push(lease);
  return lease;
}

describe('a request that waits', () => {
  test('is served in turn, those of higher priority first', async () => {
    const first = await take({ slice: 'queue1' });
    const order: string[] = [];
    const wait = async (name: string, priority: number): Promise<void> => {
      const lease = await take({ slice: 'queue1', waitMs: 20_000, priority });
      order.push(name);
      await lease.close();
    };
    const waiting = [wait('first', 0)];
    await pause(40);
    waiting.push(wait('second', 0));
    await pause(40);
    waiting.push(wait('low', -5), wait('high', 5));
    await pause(40);
    // Others are not held up.
    await take();
    await first.close();
    await Promise.all(waiting);
    expect(order).toEqual(['high', 'first', 'second', 'low']);
  });

  test('is told who holds the slice when its time is over', async () => {
    const { record } = await take({ slice: 'queue1' });
    const startMs = performance.now();
    await expect(take({ slice: 'queue1', waitMs: 150 })).rejects.toMatchObject({
      code: 'NO_FREE_SLICE',
      message: expect.stringContaining(record.id.slice(0, 8)),
    });
    expect(performance.now() - startMs).toBeGreaterThan(145);
  });

  test('is forgotten when its process dies', async () => {
    const first = await take({ slice: 'queue1' });
    const actor = startClient(broker.socketPath);
    const never = actor.acquire({ slice: 'queue1', waitMs: 20_000 });
    never.catch(() => undefined);
    await pause(300);
    const next = take({ slice: 'queue1', waitMs: 20_000 });
    await pause(40);
    actor.kill('SIGKILL');
    await actor.exited;
    await first.close();
    expect((await next).record.slice).toBe('queue1');
    await expect(never).rejects.toThrow('client is gone');
  });

  test('is told at once when the broker drains', async () => {
    await using own = await BrokerFixture.start({ queues: 1 });
    const lease = await own.control.acquire({ memoryBytes: 4096 });
    const other = await own.connect();
    const waiting = other.acquire({ memoryBytes: 4096, waitMs: 20_000 });
    waiting.catch(() => undefined);
    await pause(50);
    await expect(own.admin.drain(50)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await expect(waiting).rejects.toMatchObject({ code: 'DENIED' });
    const drained = own.admin.drain(5000);
    await lease.close();
    await drained;
    await expect(other.acquire({ memoryBytes: 4096 })).rejects.toMatchObject({ code: 'DENIED' });
    other.close();
  });
});

describe('a lease of the whole function', () => {
  test('waits for all others, keeps later ones waiting, and shares with nobody', async () => {
    const first = await take();
    await expect(take({ exclusive: true })).rejects.toMatchObject({ code: 'NO_FREE_SLICE' });
    const whole = take({ exclusive: true, waitMs: 20_000 });
    await pause(40);
    const later = take({ waitMs: 20_000 });
    await pause(40);
    await first.close();
    const alone = await whole;
    expect(alone.record.exclusive).toBe(true);
    await expect(take()).rejects.toMatchObject({ code: 'NO_FREE_SLICE' });
    expect((await client.leases()).map(({ id }) => id)).toEqual([alone.record.id]);
    await alone.close();
    expect((await later).record.exclusive).toBe(false);
  });
});
