// Nonsense in descriptors, registers and rings: nothing is thrown, nothing outside is touched, and
// memory by message does exactly what direct memory does.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TestBus } from '../testing/test-bus.js';
import { type Completion, settle, TestHolder } from '../testing/test-holder.js';
import { mqdma, queueControlOffset, queuePageWord } from './datasheet.js';
import { MqdmaDevice } from './device.js';

const base = 0x10_0000_0000;
const dataAt = base + 0x8000;
const dataBytes = 0x4000;
const boundsBytes = 0x10_0000 + 0x8000;

/** Words that mean something often enough. */
const word = fc.oneof(
  fc.constantFrom(0, 1, 2, 3, 4, 5, 0x101, 0x10, 0xffff_ffff, 0x8000_0000),
  fc.integer({ min: 0, max: 0xffff_ffff }),
);

const nearby = fc.integer({ min: -64, max: dataBytes + 64 }).map((by) => dataAt + by);
const operand = fc.oneof(
  { weight: 6, arbitrary: nearby },
  { weight: 1, arbitrary: fc.constantFrom(0, base - 1, base + boundsBytes - 1, 2 ** 48 - 1) },
);

interface Aim {
  readonly code: number;
  readonly length: number;
  readonly source: number;
  readonly destination: number;
  readonly pattern: number;
}

/** A descriptor that is in order but for where it points. */
const aimed = aimedAt(operand, operand, 9000);

function aimedAt(
  source: fc.Arbitrary<number>,
  destination: fc.Arbitrary<number>,
  lengthMax: number,
): fc.Arbitrary<Uint32Array> {
  const fields: fc.Arbitrary<Aim> = fc.record({
    code: fc.integer({ min: 1, max: 5 }),
    length: fc.integer({ min: 0, max: lengthMax }),
    source,
    destination,
    pattern: word,
  });
  return fields.map(({ code, length, source, destination, pattern }) => {
    const words = new Uint32Array(16);
    words[0] = code;
    if (code === 1) return words;
    words[3] = length;
    if (code !== 3) {
      words[4] = source >>> 0;
      words[5] = Math.floor(source / 2 ** 32);
    }
    if (code !== 5) {
      words[6] = destination >>> 0;
      words[7] = Math.floor(destination / 2 ** 32);
    }
    if (code === 3) words[8] = pattern;
    return words;
  });
}

const wild = fc.array(word, { minLength: 16, maxLength: 16 }).map((list) => Uint32Array.from(list));
const descriptors = fc.array(fc.oneof({ weight: 4, arbitrary: aimed }, wild), { maxLength: 12 });

/** One half to the other, or out of bounds: what both kinds of memory must treat alike. */
const outOfBounds = fc.constantFrom(0, base - 1, base + boundsBytes - 1);
const apart = aimedAt(
  fc.oneof({ weight: 8, arbitrary: fc.integer({ min: dataAt, max: dataAt + 3000 }) }, outOfBounds),
  fc.integer({ min: dataAt + 0x2000, max: dataAt + 0x2000 + 3000 }),
  5000,
);
const alike = fc.array(fc.oneof({ weight: 4, arbitrary: apart }, wild), { maxLength: 12 });

interface World {
  readonly bus: TestBus;
  readonly device: MqdmaDevice;
  readonly holder: TestHolder;
  /** Byte ranges of the bus's memory that the device may write. */
  readonly allowed: readonly (readonly [number, number])[];
}

function makeWorld(messages: boolean): World {
  const bus = new TestBus({ memoryBytes: 256 * 1024, messages });
  const device = new MqdmaDevice({ queueCount: 2 });
  device.attach(bus);
  // A neighbour's page first, in the middle and last.
  bus.map(undefined, 0, 4096);
  const holder = new TestHolder(device, bus, 0, {
    ringIova: base,
    entries: 8,
    bounds: { base, lengthBytes: boundsBytes },
  });
  const first = bus.map(undefined, dataAt, dataBytes);
  bus.map(undefined, base - 4096, 4096);
  bus.map(undefined, base + boundsBytes, 4096);
  for (let at = 0; at < bus.u8.length; at++) bus.u8[at] = (at * 7 + (at >> 9)) & 0xff;
  bus.u8.fill(0, holder.descriptorsAt, holder.descriptorsAt + 4096);
  const completions = holder.completionsAt;
  const allowed = [
    [first, first + dataBytes],
    [completions, completions + 8 * 16],
  ] as const;
  return { bus, device, holder, allowed };
}

/** Memory outside what may be written, as one string of bytes. */
function outside(world: World): Buffer {
  const copy = Buffer.from(world.bus.u8);
  for (const [start, end] of world.allowed) copy.fill(0, start, end);
  const { descriptorsAt } = world.holder;
  return copy.fill(0, descriptorsAt, descriptorsAt + 8 * 64);
}

async function runAll(world: World, list: readonly Uint32Array[]): Promise<Completion[]> {
  const { bus, device, holder } = world;
  const done: Completion[] = [];
  holder.connect();
  for (const words of list) {
    holder.putWords(words);
    holder.ring();
    for (let quiet = 0; quiet < 2; quiet++) {
      settle(device);
      if (bus.direct !== undefined) break;
      await new Promise(setImmediate);
      for (const message of bus.pending.splice(0)) {
        message.answer();
        quiet = -1;
      }
    }
    done.push(...holder.reap());
  }
  return done;
}

describe('random descriptors', () => {
  it('touch nothing outside bounds and maps', async () => {
    await fc.assert(
      fc.asyncProperty(descriptors, async (list) => {
        const world = makeWorld(false);
        const before = outside(world);
        await runAll(world, list);
        expect(Buffer.compare(outside(world), before)).toBe(0);
      }),
      { numRuns: 150 },
    );
  });

  it('do the same by message as directly', async () => {
    await fc.assert(
      fc.asyncProperty(alike, async (list) => {
        const direct = makeWorld(false);
        const messages = makeWorld(true);
        const want = await runAll(direct, list);
        expect(await runAll(messages, list)).toEqual(want);
        expect(Buffer.compare(messages.bus.u8, direct.bus.u8)).toBe(0);
        const pages = [messages, direct].map(({ holder }) => holder.statusPage.slice(0, 32));
        expect(pages[0]).toEqual(pages[1]);
      }),
      { numRuns: 25 },
    );
  });

  it('would be caught: with the bounds off, the same aim hits the neighbour', async () => {
    const world = makeWorld(false);
    world.holder.control(0, 0);
    world.holder.program({});
    const before = outside(world);
    const words = new Uint32Array(16);
    words[0] = 3;
    words[3] = 64;
    await runAll(world, [words]);
    expect(Buffer.compare(outside(world), before)).not.toBe(0);
  });
});

describe('random registers', () => {
  const pageWrite = fc.record({
    kind: fc.constant('page' as const),
    word: fc.constantFrom(...Object.values(queuePageWord)),
    value: fc.oneof(word, fc.constantFrom(8, base >>> 0, 0x10)),
  });
  const controlWrite = fc.record({
    kind: fc.constant('control' as const),
    word: fc.integer({ min: 0, max: 1 + (queueControlOffset(2) >> 2) }),
    value: word,
  });
  const step = fc.record({
    kind: fc.constant('step' as const),
    word: fc.integer({ min: 1, max: 5 }),
    value: fc.constant(0),
  });
  const sleep = fc.record({
    kind: fc.constant('sleep' as const),
    word: fc.constant(0),
    value: fc.constant(0),
  });
  const action = fc.oneof(
    { weight: 4, arbitrary: pageWrite },
    { weight: 2, arbitrary: controlWrite },
    { weight: 4, arbitrary: step },
    sleep,
  );

  it('throw nothing, end by themselves, and a reset mends everything', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const world = makeWorld(false);
        const { bus, device, holder } = world;
        holder.connect();
        for (const { kind, word: index, value } of actions) {
          if (kind === 'page') holder.page[index] = value;
          else if (kind === 'control') device.write(mqdma.controlRegion, index * 4, 4, value);
          else if (kind === 'step') for (let count = 0; count < index; count++) device.step();
          else if (device.prepareSleep()) device.awake();
        }
        bus.now += 2 ** 33;
        settle(device);
        device.reset();
        holder.program({ bounds: { base, lengthBytes: boundsBytes } });
        holder.connect();
        settle(device);
        expect(holder.run({ tag: 1 })?.tag).toBe(1);
      }),
      { numRuns: 200 },
    );
  });
});
