// Whatever a server was doing when it died, and however often: once the client is connected again,
// the server knows exactly what the callers were told holds.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { isLessorError } from '../base/errors.js';
import { connectReconnecting, type ReconnectingClient } from './reconnect.js';
import { ManualClock } from './testing/manual-clock.js';
import { type Death, MortalServer } from './testing/mortal-server.js';
import { memoryWorld, turns, type World } from './testing/world.js';

type Operation =
  | { readonly type: 'map' | 'unmap'; readonly page: number }
  | { readonly type: 'bind' | 'unbind' | 'mask' | 'unmask'; readonly vector: number }
  | { readonly type: 'unmapAll' | 'disable' };

/** What the callers were told: names of descriptors by address or vector. */
class Truth {
  readonly maps = new Map<bigint, string>();
  readonly bound = new Map<string, string>();
  readonly masked = new Set<string>();
}

const page = fc.integer({ min: 0, max: 3 });
const vector = fc.integer({ min: 0, max: 3 });
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant('map' as const), page }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('unmap' as const), page }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('bind' as const), vector }) },
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constantFrom('unbind', 'mask', 'unmask'), vector }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constantFrom('unmapAll', 'disable') }) },
);

/** VERSION and what identifies the device are 17 replies; then come replay and operations. */
const death: fc.Arbitrary<Death> = fc.record({
  replies: fc.integer({ min: 1, max: 32 }),
  sent: fc.boolean(),
});

const pageBytes = 4096n;

async function carryOut(
  client: ReconnectingClient,
  world: World,
  what: Operation,
  serial: number,
  truth: Truth,
): Promise<void> {
  const name = `file${serial}`;
  switch (what.type) {
    case 'map': {
      const iova = BigInt(what.page) * pageBytes;
      // The test endpoint takes a second map at the same place, as no device does.
      if (truth.maps.has(iova)) return;
      const shape = { iova, lengthBytes: pageBytes, offsetBytes: 0n };
      const fd = world.open(name);
      await client.dmaMap({ ...shape, readable: true, writable: true, fd });
      truth.maps.set(iova, `${pageBytes} ${name}`);
      return;
    }
    case 'unmap': {
      const iova = BigInt(what.page) * pageBytes;
      await client.dmaUnmap({ iova, lengthBytes: pageBytes });
      truth.maps.delete(iova);
      return;
    }
    case 'unmapAll':
      await client.dmaUnmap('all');
      truth.maps.clear();
      return;
    case 'bind':
      await client.setIrqs({
        action: 'bind',
        index: 2,
        start: what.vector,
        fds: [world.open(name)],
      });
      truth.bound.set(`2/${what.vector}`, name);
      return;
    case 'unbind':
      await client.setIrqs({ action: 'unbind', index: 2, start: what.vector, count: 1 });
      truth.bound.delete(`2/${what.vector}`);
      return;
    case 'disable':
      await client.setIrqs({ action: 'disable', index: 2 });
      truth.bound.clear();
      return;
    default:
      await client.setIrqs({ action: what.type, index: 2, vectors: [what.vector] });
      if (what.type === 'mask') truth.masked.add(`2/${what.vector}`);
      else truth.masked.delete(`2/${what.vector}`);
  }
}

async function settle(clock: ManualClock, client: ReconnectingClient): Promise<void> {
  for (let round = 0; round < 2000; round += 1) {
    await turns(20);
    if (client.state === 'connected') return;
    clock.advance(50);
  }
}

async function run(operations: readonly Operation[], deaths: readonly Death[]): Promise<void> {
  const world = memoryWorld();
  const clock = new ManualClock();
  const server = new MortalServer(world, clock);
  const outageMs = 1e9;
  // The first connection must come about.
  const [first, ...later] = deaths;
  if (first !== undefined) server.deaths.push({ ...first, replies: first.replies + 17 });
  server.deaths.push(...later);
  const client = await connectReconnecting({ clock, dial: server.dial, outageMs });
  const truth = new Truth();
  try {
    for (const [serial, what] of operations.entries()) {
      await carryOut(client, world, what, serial, truth).catch((error: unknown) => {
        if (!isLessorError(error, 'SERVER_GONE')) throw error;
      });
      if (serial % 3 === 2) await settle(clock, client);
    }
    // A death that is still due may come with the last replies.
    await turns(60);
    await settle(clock, client);
    expect(client.state).toBe('connected');
    if (server.connections.length > 1) {
      expect(sorted(server.last.maps)).toEqual(sorted(truth.maps));
      expect(sorted(server.last.bound)).toEqual(sorted(truth.bound));
      expect([...server.last.masked].sort()).toEqual([...truth.masked].sort());
    }
  } finally {
    client.close();
    server.close();
    await turns(10);
  }
  expect(world.left()).toEqual([]);
  expect(clock.timerCount).toBe(0);
}

function sorted<K extends bigint | string>(map: ReadonlyMap<K, string>): string[] {
  return [...map].map(([key, value]) => `${key} ${value}`).sort();
}

it('after any death at any stage, the server knows what was promised', async () => {
  const scenario = fc.asyncProperty(
    fc.array(operation, { maxLength: 14 }),
    fc.array(death, { minLength: 1, maxLength: 4 }),
    (operations, deaths) => run(operations, deaths),
  );
  await fc.assert(scenario, { numRuns: 120 });
}, 60_000);

it('after a death in each stage of one session', async () => {
  const operations: Operation[] = [
    { type: 'map', page: 0 },
    { type: 'map', page: 1 },
    { type: 'bind', vector: 0 },
    { type: 'mask', vector: 0 },
    { type: 'unmap', page: 0 },
    { type: 'bind', vector: 1 },
  ];
  for (const sent of [true, false]) {
    for (let replies = 1; replies <= 24; replies += 1) {
      // Once while the operations run, and once in the attempt that follows.
      const early = { replies: 1 + (replies % 6), sent };
      await run(operations, [early, { replies, sent }]);
    }
  }
}, 60_000);
