// Turns: budgets, fairness, sleeping and waking, interrupts; messages instead of memory.
import { describe, expect, it } from 'vitest';
import { TestBus } from '../testing/test-bus.js';
import { settle, TestHolder } from '../testing/test-holder.js';
import {
  completionStatus,
  mqdma,
  opcode,
  queueControl,
  queuePageWord,
  queueStatus,
  ringState,
  statusPageWord,
} from './datasheet.js';
import { MqdmaDevice } from './device.js';

const data = 0x70_0000_0000;

function setUp(queueCount: number, memoryBytes = 4 * 1024 * 1024) {
  const bus = new TestBus({ memoryBytes });
  const device = new MqdmaDevice({ queueCount });
  device.attach(bus);
  const holders = Array.from({ length: queueCount }, (_, queue) => {
    const ringIova = 0x10_0000_0000 + queue * 0x100_0000;
    return new TestHolder(device, bus, queue, { ringIova }).connect();
  });
  settle(device);
  return { bus, device, holders };
}

describe('a turn', () => {
  it('is 32 descriptors, then the next queue', () => {
    const { device, holders } = setUp(3);
    for (const holder of holders) {
      for (let tag = 0; tag < 64; tag++) holder.put({ tag });
      holder.ring();
    }
    const order: number[] = [];
    while (device.step() === 'more') {
      for (const holder of holders) {
        const count = holder.reap().length;
        if (count > 0) order.push(holder.queue, count);
      }
    }
    expect(order.filter((_, at) => at % 2 === 1)).toEqual([32, 32, 32, 32, 32, 32]);
    expect(new Set([order[0], order[2], order[4]])).toEqual(new Set([0, 1, 2]));
  });

  it('is 64 KiB: a long copy keeps nobody waiting, and yields between chunks of 4 KiB', () => {
    const { bus, device, holders } = setUp(2);
    bus.map(undefined, data, 1024 * 1024);
    const [long, short] = [holders[0]!, holders[1]!];
    long.submit({ opcode: opcode.FILL, destination: data, length: 1024 * 1024 });
    let done = 0;
    let steps = 0;
    bus.yields = 0;
    while (long.reap().length === 0) {
      short.submit({ tag: steps });
      device.step();
      device.step();
      steps++;
      done += short.reap().length;
    }
    expect(steps).toBe(16);
    expect(done).toBe(16);
    expect(bus.yields).toBe(256);
  });

  it('goes round a thousand queues, whoever is loud', () => {
    const { device, holders } = setUp(200, 16 * 1024 * 1024);
    // The quiet ones turn cold.
    for (let idle = 0; idle < 3000; idle++) device.step();
    const loud = holders[0]!;
    const quiet = holders[150]!;
    quiet.submit({ tag: 77 });
    let steps = 0;
    let woken: number | undefined;
    while (woken === undefined && steps < 200) {
      loud.submit({});
      device.step();
      steps++;
      loud.reap();
      woken = quiet.reap()[0]?.tag;
    }
    expect(woken).toBe(77);
    expect(steps).toBeLessThan(60);
    expect(settle(device)).toBeLessThan(3);
  });
});

describe('sleeping', () => {
  it('publishes need-wakeup, looks once more, and goes back when there is work', () => {
    const { device, holders } = setUp(2);
    const need = () => holders.map((holder) => holder.statusPage[statusPageWord.NEED_WAKEUP]);
    expect(device.prepareSleep()).toBe(true);
    expect(need()).toEqual([1, 1]);
    device.awake();
    expect(need()).toEqual([0, 0]);
    holders[1]!.submit({});
    expect(device.prepareSleep()).toBe(false);
    expect(need()).toEqual([0, 0]);
    settle(device);
    expect(device.prepareSleep()).toBe(true);
  });

  it('sees a ring that is being connected, a cold queue too', () => {
    const { device, holders } = setUp(40);
    for (let idle = 0; idle < 3000; idle++) device.step();
    expect(device.prepareSleep()).toBe(true);
    device.awake();
    holders[33]!.disconnect();
    expect(device.prepareSleep()).toBe(false);
  });

  it('tells a queue that is enabled meanwhile', () => {
    const { device, holders } = setUp(2);
    holders[0]!.control(queueControl.ENABLE, 0);
    device.prepareSleep();
    holders[0]!.control(queueControl.ENABLE, 1);
    expect(holders[0]!.statusPage[statusPageWord.NEED_WAKEUP]).toBe(1);
  });

  it('has nothing to do for queues nobody enabled', () => {
    const bus = new TestBus();
    const device = new MqdmaDevice({ queueCount: mqdma.queueCountMax });
    device.attach(bus);
    expect(device.step()).toBe('idle');
    expect(device.prepareSleep()).toBe(true);
  });
});

describe('the interrupt', () => {
  it('fires once for every arming, after the completions are there', () => {
    const { bus, device, holders } = setUp(1);
    const holder = holders[0]!;
    holder.run({});
    expect(bus.interrupts).toEqual([]);
    holder.page[queuePageWord.ARM] = 5;
    let seen = 0;
    bus.onInterrupt = () => {
      seen = holder.reap().length;
    };
    for (let tag = 0; tag < 3; tag++) holder.put({ tag });
    holder.ring();
    settle(device);
    expect(seen).toBe(3);
    holder.run({});
    expect(bus.interrupts).toEqual([0]);
    holder.page[queuePageWord.ARM] = 6;
    expect(settle(device)).toBe(0);
    expect(bus.interrupts).toEqual([0]);
    holder.run({});
    expect(bus.interrupts).toEqual([0, 0]);
    holder.page[queuePageWord.ARM] = 0;
    holder.run({});
    expect(bus.interrupts).toEqual([0, 0]);
  });
});

describe('drain', () => {
  it('starts nothing new, lets the transfer under way finish, then reads idle', () => {
    const { bus, device, holders } = setUp(1);
    const holder = holders[0]!;
    bus.map(undefined, data, 256 * 1024);
    holder.put({ opcode: opcode.FILL, destination: data, length: 256 * 1024, tag: 1 });
    holder.put({ tag: 2 });
    holder.ring();
    device.step();
    holder.control(queueControl.DRAIN, 1);
    expect(holder.readControl(queueControl.STATUS) & queueStatus.IDLE).toBe(0);
    settle(device);
    expect(holder.reap().map(({ tag }) => tag)).toEqual([1]);
    expect(holder.readControl(queueControl.STATUS) & queueStatus.IDLE).toBe(queueStatus.IDLE);
    holder.control(queueControl.DRAIN, 0);
    settle(device);
    expect(holder.reap().map(({ tag }) => tag)).toEqual([2]);
  });

  it('by RING_CONTROL finishes the transfer, then disconnects', () => {
    const { bus, device, holders } = setUp(1);
    const holder = holders[0]!;
    bus.map(undefined, data, 256 * 1024);
    holder.put({ opcode: opcode.FILL, destination: data, length: 256 * 1024, tag: 1 });
    holder.put({ tag: 2 });
    holder.ring();
    device.step();
    holder.disconnect();
    settle(device);
    expect(holder.reap().map(({ tag }) => tag)).toEqual([1]);
    expect(holder.state).toBe(ringState.DISCONNECTED);
  });

  it('disable gives the transfer up between two chunks', () => {
    const { bus, device, holders } = setUp(1);
    const holder = holders[0]!;
    const at = bus.map(undefined, data, 256 * 1024);
    const length = 256 * 1024;
    holder.submit({ opcode: opcode.FILL, destination: data, length, pattern: 1n });
    device.step();
    holder.control(queueControl.ENABLE, 0);
    expect(holder.readControl(queueControl.STATUS)).toBe(queueStatus.IDLE);
    const moved = bus.u8.slice(at, at + length);
    settle(device);
    expect(Buffer.compare(bus.u8.subarray(at, at + length), moved)).toBe(0);
    expect(holder.reap()).toEqual([]);
  });
});

/** Answers messages until none comes any more. */
async function answerAll(bus: TestBus, device: MqdmaDevice): Promise<number> {
  let count = 0;
  for (let quiet = 0; quiet < 3; quiet++) {
    settle(device);
    await new Promise(setImmediate);
    for (const message of bus.pending.splice(0)) {
      message.answer();
      count++;
      quiet = 0;
    }
  }
  return count;
}

describe('memory by message', () => {
  function setUpMessages() {
    const bus = new TestBus({ messages: true });
    const device = new MqdmaDevice({ queueCount: 2, faultInjection: true });
    device.attach(bus);
    const holders = [0, 1].map((queue) => {
      const ringIova = 0x10_0000_0000 + queue * 0x100_0000;
      return new TestHolder(device, bus, queue, { ringIova, entries: 4 }).connect();
    });
    settle(device);
    return { bus, device, one: holders[0]!, other: holders[1]! };
  }

  it('does every operation', async () => {
    const { bus, device, one } = setUpMessages();
    const at = bus.map(undefined, data, 16 * 1024);
    bus.map(undefined, data + 0x100000, 16 * 1024);
    for (let index = 0; index < 9; index++) bus.u8[at + index] = 0x31 + index;
    const destination = data + 0x100000;
    one.put({ opcode: opcode.COPY, source: data, destination, length: 10_000 });
    one.put({ opcode: opcode.CRC32C, source: destination, length: 9 });
    one.put({ opcode: opcode.COMPARE, source: data, destination, length: 10_000 });
    one.put({ opcode: opcode.FILL, destination, length: 5000, pattern: 0x0807060504030201n });
    one.ring();
    await answerAll(bus, device);
    expect(one.reap().map(({ status, result }) => [status, result])).toEqual([
      [0, 0],
      [0, 0xe3069283],
      [0, 0],
      [0, 0],
    ]);
    one.submit({ opcode: opcode.COMPARE, source: destination, destination: data, length: 5000 });
    await answerAll(bus, device);
    expect(one.reap()).toMatchObject([{ status: completionStatus.DIFFERENT, result: 0 }]);
  });

  it('parks the queue that waits and no other', async () => {
    const { bus, device, one, other } = setUpMessages();
    one.submit({ tag: 1 });
    expect(settle(device)).toBeLessThan(3);
    await new Promise(setImmediate);
    const held = bus.pending.splice(0);
    expect(held).toHaveLength(1);
    expect(device.step()).toBe('waiting');
    other.submit({ tag: 2 });
    await answerAll(bus, device);
    expect(other.reap()).toMatchObject([{ tag: 2 }]);
    expect(one.reap()).toEqual([]);
    expect(one.readControl(queueControl.STATUS) & queueStatus.IDLE).toBe(0);
    for (const message of held) message.answer();
    await answerAll(bus, device);
    expect(one.reap()).toMatchObject([{ tag: 1 }]);
  });

  it('is not idle, once disabled, until the message under way was answered; then drops it', async () => {
    const { bus, device, one } = setUpMessages();
    bus.map(undefined, data, 4096);
    one.submit({ opcode: opcode.FILL, destination: data, length: 4096 });
    settle(device);
    await new Promise(setImmediate);
    bus.pending.splice(0)[0]!.answer();
    await new Promise(setImmediate);
    const write = bus.pending.splice(0)[0]!;
    expect(write.kind).toBe('write');
    one.control(queueControl.ENABLE, 0);
    expect(one.readControl(queueControl.STATUS)).toBe(0);
    write.answer();
    await new Promise(setImmediate);
    expect(one.readControl(queueControl.STATUS)).toBe(queueStatus.IDLE);
    expect(await answerAll(bus, device)).toBe(0);
  });

  it('faults on a refusal, and on a peer that is gone', async () => {
    const { bus, device, one, other } = setUpMessages();
    one.submit({ tag: 1 });
    other.submit({ tag: 2 });
    settle(device);
    await new Promise(setImmediate);
    const [first, second] = bus.pending.splice(0);
    first!.refuse('no permission');
    second!.fail();
    await answerAll(bus, device);
    expect([one.state, other.state]).toEqual([ringState.FAULTED, ringState.FAULTED]);
    expect(one.readControl(queueControl.FAULT_REASON)).toBe(3);
    expect(other.readControl(queueControl.FAULT_REASON)).toBe(5);
    expect(bus.interrupts).toEqual([2, 2]);
  });

  it('completes a data fault in the ring, after its record', async () => {
    const { bus, device, one } = setUpMessages();
    one.submit({ opcode: opcode.CRC32C, source: 0x6666_0000, length: 4, tag: 9 });
    await answerAll(bus, device);
    expect(one.reap()).toMatchObject([{ tag: 9, status: completionStatus.FAULT }]);
    expect(one.readControl(queueControl.FAULT_IOVA_LOW)).toBe(0x6666_0000);
  });

  it('knows late DMA', async () => {
    const { bus, device, one } = setUpMessages();
    one.control(queueControl.INJECT_DMA_DELAY_MS, 30);
    one.submit({ tag: 3 });
    await answerAll(bus, device);
    expect(one.reap()).toEqual([]);
    bus.now += 30;
    await answerAll(bus, device);
    expect(one.reap()).toMatchObject([{ tag: 3 }]);
  });
});
