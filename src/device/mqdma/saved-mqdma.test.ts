// mqdma on its way to another server: whatever was under way goes on there, and no state can bring
// about what a holder could not.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isLessorError } from '../../base/errors.js';
import { TestBus } from '../testing/test-bus.js';
import { type Completion, settle, TestHolder } from '../testing/test-holder.js';
import { completionStatus, isolationBit, opcode, queueControl, queueStatus } from './datasheet.js';
import { MqdmaDevice } from './device.js';
import { savedHeader } from './saved-mqdma.js';
import { savedQueue, savedQueueBytes, savedQueueFlag } from './saved-queue.js';

const data = 0x20_0000_0000;
const dataBytes = 512 * 1024;
const pageBytes = 4096;

interface World {
  readonly bus: TestBus;
  readonly device: MqdmaDevice;
  readonly holder: TestHolder;
  /** Where the data lies in the bus's memory. */
  readonly dataAt: number;
}

function makeWorld(messages = false): World {
  const bus = new TestBus({ messages });
  const device = new MqdmaDevice({ queueCount: 2, faultInjection: true });
  device.attach(bus);
  const bounds = { base: 0, lengthBytes: data + dataBytes };
  const holder = new TestHolder(device, bus, 1, { entries: 8, bounds });
  const dataAt = bus.map(undefined, data, dataBytes);
  for (let at = 0; at < dataBytes; at++) bus.u8[dataAt + at] = (at * 31 + (at >> 8)) & 0xff;
  return { bus, device, holder, dataAt };
}

/** What a host does: stops and saves here, loads and starts there, with memory and frames. */
async function move(from: World, messages = false): Promise<World> {
  await from.device.migration.stop();
  const state = from.device.migration.save();
  const to = makeWorld(messages);
  await to.device.migration.stop();
  to.device.migration.load(state);
  to.bus.u8.set(from.bus.u8);
  for (let page = 0; page < 4; page++) {
    const old = from.bus.frameOf(2, page * pageBytes).u32;
    to.bus.frameOf(2, page * pageBytes).u32.set(old);
  }
  to.holder.tail = from.holder.tail;
  to.holder.consumed = from.holder.consumed;
  to.device.migration.start();
  expect(to.device.migration.save()).toEqual(state);
  return to;
}

const bytesAt = ({ bus, dataAt }: World, offset: number, length: number) =>
  Buffer.from(bus.u8.subarray(dataAt + offset, dataAt + offset + length));

async function answerAll({ bus, device }: World): Promise<void> {
  for (let quiet = 0; quiet < 3; quiet++) {
    settle(device);
    await new Promise(setImmediate);
    for (const message of bus.pending.splice(0)) {
      message.answer();
      quiet = 0;
    }
  }
}

describe('a queue', () => {
  it('goes on in the middle of a copy', async () => {
    const from = makeWorld();
    from.holder.connect();
    const [source, destination, length] = [data, data + 0x40000, 200_000];
    from.holder.submit({ opcode: opcode.COPY, source, destination, length, tag: 5 });
    for (let turns = 0; turns < 3; turns++) from.device.step();
    expect(from.holder.reap()).toEqual([]);
    const to = await move(from);
    settle(to.device);
    expect(to.holder.reap()).toMatchObject([{ tag: 5, status: completionStatus.OK }]);
    expect(bytesAt(to, 0x40000, length)).toEqual(bytesAt(to, 0, length));
    expect(to.holder.run({ tag: 6 })).toMatchObject({ tag: 6, status: completionStatus.OK });
    // Where it came from stands still.
    settle(from.device);
    expect(from.holder.reap()).toEqual([]);
  });

  it('takes faults, drained and disconnected rings along', async () => {
    const from = makeWorld();
    from.holder.connect();
    settle(from.device);
    from.holder.submit({ opcode: opcode.FILL, destination: data - pageBytes, length: 8 });
    settle(from.device);
    const fault = [
      queueControl.FAULT_COUNT,
      queueControl.FAULT_REASON,
      queueControl.FAULT_IOVA_HIGH,
    ];
    const before = fault.map((register) => from.holder.readControl(register));
    expect(before[0]).toBe(1);
    from.holder.control(queueControl.DRAIN, 1);
    const to = await move(from);
    expect(fault.map((register) => to.holder.readControl(register))).toEqual(before);
    expect(to.holder.header('FAULT_PENDING')).toBe(2);
    expect(to.holder.readControl(queueControl.DRAIN)).toBe(1);
    expect(to.holder.readControl(queueControl.STATUS) & queueStatus.FAULTED).not.toBe(0);
    to.holder.disconnect();
    settle(to.device);
    const again = await move(to);
    again.holder.control(queueControl.DRAIN, 0);
    again.holder.connect();
    settle(again.device);
    expect(again.holder.run({ tag: 1 })).toMatchObject({ tag: 1, status: completionStatus.OK });
  });

  it('does late DMA there when it is due', async () => {
    const from = makeWorld();
    from.holder.control(queueControl.INJECT_DMA_DELAY_MS, 50);
    from.holder.connect();
    from.holder.submit({ opcode: opcode.FILL, destination: data, length: 8, pattern: 0n });
    settle(from.device);
    from.holder.control(queueControl.ENABLE, 0);
    from.bus.now += 20;
    const to = await move(from);
    to.bus.now += 29;
    settle(to.device);
    expect(bytesAt(to, 0, 8)).toEqual(bytesAt(from, 0, 8));
    expect(to.holder.readControl(queueControl.STATUS)).toBe(0);
    to.bus.now += 1;
    settle(to.device);
    expect(bytesAt(to, 0, 8)).toEqual(Buffer.alloc(8));
    expect(to.holder.readControl(queueControl.STATUS)).toBe(queueStatus.IDLE);
    expect(to.holder.reap()).toEqual([]);
  });

  it('by message stops once its message was answered, and sends no other', async () => {
    const from = makeWorld(true);
    from.holder.connect();
    settle(from.device);
    const [source, destination, length] = [data, data + 0x40000, 200_000];
    from.holder.submit({ opcode: opcode.COPY, source, destination, length, tag: 5 });
    settle(from.device);
    await new Promise(setImmediate);
    expect(from.bus.pending).toHaveLength(1);
    let isStopped = false;
    const stopping = from.device.migration.stop().then(() => {
      isStopped = true;
    });
    await new Promise(setImmediate);
    expect(isStopped).toBe(false);
    await answerAll(from);
    await stopping;
    expect(settle(from.device)).toBe(0);
    expect(from.bus.pending).toEqual([]);
    const to = await move(from, true);
    await answerAll(to);
    expect(to.holder.reap()).toMatchObject([{ tag: 5, status: completionStatus.OK }]);
    expect(bytesAt(to, 0x40000, length)).toEqual(bytesAt(to, 0, length));
  });
});

it('makes no difference, however often and wherever it moves', async () => {
  const half = dataBytes / 2;
  const operation = fc.record({
    opcode: fc.constantFrom(opcode.COPY, opcode.FILL, opcode.COMPARE, opcode.CRC32C),
    source: fc.integer({ min: 0, max: half - 1 }),
    destination: fc.integer({ min: half, max: dataBytes - 1 }),
    length: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 180_000 })),
    pattern: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    stepsBefore: fc.integer({ min: 0, max: 6 }),
  });
  const submit = (
    { holder }: World,
    one: typeof operation extends fc.Arbitrary<infer T> ? T : never,
  ) =>
    holder.submit({
      opcode: one.opcode,
      length: one.length,
      ...(one.opcode === opcode.FILL ? { pattern: one.pattern } : { source: data + one.source }),
      ...(one.opcode === opcode.CRC32C ? {} : { destination: data + one.destination }),
    });
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 7 }), async (operations) => {
      const still = makeWorld();
      let moving = makeWorld();
      for (const { holder, device } of [still, moving]) {
        holder.connect();
        settle(device);
      }
      const seen: Completion[] = [];
      for (const one of operations) {
        submit(still, one);
        submit(moving, one);
        for (let steps = 0; steps < one.stepsBefore; steps++) moving.device.step();
        seen.push(...moving.holder.reap());
        moving = await move(moving);
      }
      settle(still.device);
      settle(moving.device);
      seen.push(...moving.holder.reap());
      const outcome = ({ tag, result, status }: Completion) => ({ tag, result, status });
      expect(seen.map(outcome)).toEqual(still.holder.reap().map(outcome));
      expect(Buffer.compare(bytesAt(moving, 0, dataBytes), bytesAt(still, 0, dataBytes))).toBe(0);
    }),
    { numRuns: 15 },
  );
});

describe('a state that no device saved', () => {
  /** One queue in the middle of a copy, saved. */
  function saved(): { world: World; state: Uint8Array } {
    const world = makeWorld();
    world.holder.connect();
    const operation = { opcode: opcode.COPY, source: data, destination: data + 0x40000 };
    world.holder.submit({ ...operation, length: 200_000 });
    for (let turns = 0; turns < 3; turns++) world.device.step();
    void world.device.migration.stop();
    return { world, state: world.device.migration.save() };
  }

  type Patch = Partial<ReturnType<typeof savedQueue.decode>>;
  const { ENABLED, RING_SEEN, CONNECTED, STOPPED, BUSY, LATE } = savedQueueFlag;
  const running = ENABLED | RING_SEEN | CONNECTED;
  const at = savedHeader.sizeBytes + savedQueueBytes;

  function patched(state: Uint8Array, patch: Patch): Uint8Array {
    const value = savedQueue.decodeAt(state, at);
    savedQueue.encodeAt({ ...value, ...patch }, state, at);
    return state;
  }

  it('is what the patches below start from', () => {
    const { world, state } = saved();
    expect(savedQueue.decodeAt(state, at)).toMatchObject({ flags: running | BUSY, entries: 8 });
    world.device.migration.load(patched(state, {}));
  });

  it.each<[string, Patch]>([
    ['a PASID too wide', { pasidRegister: 2 ** 20 }],
    ['rings of a disabled queue', { flags: RING_SEEN | CONNECTED }],
    ['rings never asked for', { flags: ENABLED | CONNECTED }],
    ['no ring entries', { entries: 0 }],
    ['three ring entries', { entries: 3 }],
    ['too many ring entries', { entries: 8192 }],
    ['descriptors off their alignment', { descriptorsBase: 0x100020 }],
    ['completions off their alignment', { completionsBase: 0x200020 }],
    ['rings past all addresses', { descriptorsBase: 2 ** 48 - 64 }],
    ['descriptors out of bounds', { descriptorsBase: data + dataBytes }],
    ['completions out of bounds', { completionsBase: data + dataBytes }],
    [
      'rings out of bounds while an operation is under way',
      {
        flags: running | STOPPED | BUSY,
        completionsBase: data + dataBytes,
      },
    ],
    ['a doorbell past the ring', { tailSeen: 100 }],
    ['completions past the ring', { headSeen: 100 }],
    ['an operation without rings', { flags: ENABLED | BUSY }],
    ['a late operation that is not late', { flags: ENABLED | BUSY | LATE }],
    ['a time without an operation', { flags: running, dueInMs: 5 }],
    ['an operation out of bounds', { isolation: isolationBit.BOUNDS, lengthLow: 0, lengthHigh: 0 }],
    ['an unknown operation', { descriptor: new Uint8Array(64) }],
    ['more done than there is', { doneBytes: 200_000 }],
  ])('is refused for %s', (_, patch) => {
    const { world, state } = saved();
    const before = world.device.migration.save();
    expect(() => world.device.migration.load(patched(state, patch))).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
    expect(world.device.migration.save()).toEqual(before);
  });

  it.each<[string, (state: Uint8Array) => Uint8Array]>([
    ['nothing', () => new Uint8Array(0)],
    ['a byte too few', (state) => state.subarray(1)],
    ['a byte too many', (state) => Uint8Array.of(...state, 0)],
    ['another device', (state) => state.fill(1, 0, 1)],
    ['another version', (state) => state.fill(9, 4, 5)],
    ['another count of queues', (state) => state.fill(3, 8, 9)],
    ['a third kind of death', (state) => state.fill(3, 12, 13)],
  ])('is refused for %s', (_, spoil) => {
    const { world, state } = saved();
    const before = world.device.migration.save();
    expect(() => world.device.migration.load(spoil(state))).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
    expect(world.device.migration.save()).toEqual(before);
  });

  it.each<[string, Patch, number]>([
    ['late DMA', { delayMs: 1 }, 0],
    ['lost interrupts', { lostInterrupts: 1 }, 0],
    ['never being idle', { flags: savedQueueFlag.NEVER_IDLE }, 0],
    ['a time', { flags: running | BUSY, dueInMs: 1 }, 0],
    ['death', {}, 1],
  ])('brings no %s where nothing is injected', (_, patch, dead) => {
    const { state } = saved();
    const device = new MqdmaDevice({ queueCount: 2 });
    device.attach(new TestBus());
    device.migration.load(patched(state.slice(), {}));
    const spoilt = patched(state, patch).fill(dead, 12, 13);
    expect(() => device.migration.load(spoilt)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });

  it('throws nothing else, and what it brings a reset mends', () => {
    const { state } = saved();
    const change = fc.tuple(
      fc.integer({ min: 0, max: state.length - 1 }),
      fc.integer({ min: 0, max: 255 }),
    );
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const world = makeWorld();
        const spoilt = state.slice();
        for (const [offset, value] of changes) spoilt[offset] = value;
        try {
          world.device.migration.load(spoilt);
        } catch (error) {
          expect(isLessorError(error, 'INVALID_ARGUMENT')).toBe(true);
        }
        world.device.migration.start();
        settle(world.device);
        world.device.reset();
        const holder = new TestHolder(world.device, world.bus, 0, { ringIova: 0x40_0000 });
        holder.connect();
        expect(holder.run({ tag: 3 })).toMatchObject({ tag: 3, status: completionStatus.OK });
      }),
    );
  });
});
