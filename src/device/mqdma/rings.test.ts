// Rings: connecting, phases, and holders who lie about them.
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
  ringError,
  ringState,
} from './datasheet.js';
import { MqdmaDevice } from './device.js';

function setUp(entries = 8, queueCount = 2) {
  const bus = new TestBus();
  const device = new MqdmaDevice({ queueCount });
  device.attach(bus);
  const holder = new TestHolder(device, bus, 0, { entries });
  return { bus, device, holder };
}

describe('connecting', () => {
  it('copies the registers once: later changes count for nothing', () => {
    const { bus, device, holder } = setUp();
    holder.connect();
    settle(device);
    expect(holder.state).toBe(ringState.CONNECTED);
    const elsewhere = bus.map(undefined, 0x900000, 4096);
    holder.page[queuePageWord.DESCRIPTORS_LOW] = 0x900000;
    holder.page[queuePageWord.COMPLETIONS_LOW] = 0x900400;
    holder.page[queuePageWord.RING_ENTRIES] = 4096;
    for (let tag = 1; tag <= 20; tag++) expect(holder.run({ tag })?.tag).toBe(tag);
    expect(bus.u8.subarray(elsewhere, elsewhere + 4096).every((byte) => byte === 0)).toBe(true);
  });

  it('takes new registers after 1 to 0, with counters from 0', () => {
    const { device, holder } = setUp();
    holder.connect();
    for (let tag = 1; tag <= 11; tag++) holder.run({ tag });
    holder.disconnect();
    settle(device);
    expect(holder.state).toBe(ringState.DISCONNECTED);
    holder.connect();
    settle(device);
    expect(holder.run({ tag: 5 })).toMatchObject({ tag: 5, fetched: 1 });
  });

  it('needs enable: a queue that is not reads no doorbell', () => {
    const { device, holder } = setUp();
    holder.control(queueControl.ENABLE, 0);
    holder.connect();
    holder.submit({});
    expect(settle(device)).toBe(0);
    holder.control(queueControl.ENABLE, 1);
    settle(device);
    expect(holder.reap()).toHaveLength(1);
  });

  it('forgets the rings on disable; enable connects anew what is there then', () => {
    const { device, holder } = setUp();
    holder.connect();
    holder.run({});
    holder.control(queueControl.ENABLE, 0);
    expect(holder.state).toBe(ringState.DISCONNECTED);
    expect(holder.readControl(queueControl.STATUS)).toBe(queueStatus.IDLE);
    holder.connect();
    holder.control(queueControl.ENABLE, 1);
    settle(device);
    expect(holder.run({ tag: 3 })?.tag).toBe(3);
  });

  it('follows its frame to other memory: zeros there mean no rings', () => {
    const { bus, device, holder } = setUp();
    holder.connect();
    holder.run({});
    bus.replaceFrame(mqdma.queueRegion, 0);
    settle(device);
    expect(holder.state).toBe(ringState.DISCONNECTED);
  });

  it.each([
    [0, ringError.ENTRIES],
    [1, ringError.ENTRIES],
    [3, ringError.ENTRIES],
    [4097, ringError.ENTRIES],
    [8192, ringError.ENTRIES],
    [0x8000_0000, ringError.ENTRIES],
    [0xffff_ffff, ringError.ENTRIES],
    [2, ringError.NONE],
    [4096, ringError.NONE],
  ])('of %i entries ends with error %i', (entries, error) => {
    const { device, holder } = setUp();
    holder.connect();
    holder.page[queuePageWord.RING_ENTRIES] = entries;
    settle(device);
    expect(holder.error).toBe(error);
    expect(holder.state).toBe(error === 0 ? ringState.CONNECTED : ringState.REJECTED);
  });

  it.each([
    ['DESCRIPTORS_LOW', 1],
    ['DESCRIPTORS_LOW', 32],
    ['COMPLETIONS_LOW', 16],
  ] as const)('refuses %s + %i: not aligned', (register, by) => {
    const { device, holder } = setUp();
    holder.connect();
    holder.page[queuePageWord[register]]! += by;
    settle(device);
    expect([holder.state, holder.error]).toEqual([ringState.REJECTED, ringError.ALIGNMENT]);
  });

  it.each([
    ['DESCRIPTORS', 0xffff_ffff, 0xffff_ffc0],
    ['COMPLETIONS', 0xffff_ffff, 0xffff_ffc0],
    ['DESCRIPTORS', 0x1_0000, 0],
    ['COMPLETIONS', 0xffff, 0xffff_ffc0],
  ] as const)('refuses %s at %i:%i: past 2^48', (which, high, low) => {
    const { device, holder } = setUp();
    holder.connect();
    holder.page[queuePageWord[`${which}_HIGH`]] = high;
    holder.page[queuePageWord[`${which}_LOW`]] = low;
    settle(device);
    expect([holder.state, holder.error]).toEqual([ringState.REJECTED, ringError.ADDRESS]);
  });

  it('stays refused until RING_CONTROL was 0', () => {
    const { device, holder } = setUp();
    holder.connect();
    holder.page[queuePageWord.RING_ENTRIES] = 3;
    settle(device);
    holder.page[queuePageWord.RING_ENTRIES] = 8;
    settle(device);
    expect(holder.state).toBe(ringState.REJECTED);
    holder.disconnect();
    settle(device);
    holder.connect();
    settle(device);
    expect(holder.state).toBe(ringState.CONNECTED);
  });
});

describe('the phase bit', () => {
  it('turns with every pass, over many passes and every fill', () => {
    const { device, holder } = setUp(4);
    holder.connect();
    let tag = 0;
    for (let batch = 0; batch < 40; batch++) {
      const want: number[] = [];
      for (let index = 0; index <= batch % 4; index++) {
        holder.put({ tag: ++tag });
        want.push(tag);
      }
      holder.ring();
      settle(device);
      expect(holder.reap().map((done) => done.tag)).toEqual(want);
    }
    expect(holder.readControl(queueControl.COMPLETED)).toBe(tag);
  });
});

describe('doorbells that cannot be true', () => {
  it.each([9, 1000, 0x8000_0000, 0xffff_ffff])('TAIL %i stops the queue', (tail) => {
    const { device, holder } = setUp();
    holder.connect();
    settle(device);
    holder.page[queuePageWord.TAIL] = tail;
    settle(device);
    expect([holder.state, holder.error]).toEqual([ringState.ERROR, ringError.TAIL]);
    expect(holder.readControl(queueControl.FAULT_COUNT)).toBe(0);
  });

  it('a whole ring ahead is allowed', () => {
    const { device, holder } = setUp();
    holder.connect();
    for (let tag = 1; tag <= 8; tag++) holder.put({ tag });
    holder.ring();
    settle(device);
    expect(holder.reap()).toHaveLength(8);
  });

  it('a head that is ahead of the completions stops the queue', () => {
    const { device, holder } = setUp(2);
    holder.connect();
    for (let tag = 0; tag < 2; tag++) holder.run({});
    holder.page[queuePageWord.COMPLETION_HEAD] = 7;
    holder.submit({});
    settle(device);
    expect([holder.state, holder.error]).toEqual([ringState.ERROR, ringError.HEAD]);
  });

  it('a TAIL that goes back stops the queue', () => {
    const { device, holder } = setUp();
    holder.connect();
    for (let tag = 0; tag < 5; tag++) holder.run({});
    holder.page[queuePageWord.TAIL] = 3;
    settle(device);
    expect(holder.state).toBe(ringState.ERROR);
  });

  it('a full completion ring holds the queue up, and nothing is overwritten', () => {
    const { device, holder } = setUp(2);
    holder.connect();
    settle(device);
    holder.put({ tag: 1 });
    holder.put({ tag: 2 });
    holder.ring();
    settle(device);
    holder.put({ tag: 3 });
    holder.ring();
    expect(settle(device)).toBe(0);
    expect(holder.reap().map(({ tag }) => tag)).toEqual([1, 2]);
    settle(device);
    expect(holder.reap().map(({ tag }) => tag)).toEqual([3]);
  });
});

describe('descriptors', () => {
  it('are copied before they are checked: a change afterwards comes too late', () => {
    const { bus, device, holder } = setUp();
    const inside = bus.map(undefined, 0x500000, 8192);
    bus.map(undefined, 0x600000, 8192);
    holder.connect();
    settle(device);
    holder.submit({ opcode: opcode.FILL, length: 8192, destination: 0x500000, pattern: 1n });
    let yields = 0;
    bus.onYield = () => {
      if (yields++ === 0) {
        const words = new Uint32Array(16).fill(0xffff_ffff);
        bus.u32.set(words, holder.descriptorsAt / 4);
      }
    };
    settle(device);
    expect(yields).toBe(2);
    expect(holder.reap()).toMatchObject([{ status: completionStatus.OK }]);
    expect(bus.u8[inside + 8184]).toBe(1);
  });
});

describe('kept translations', () => {
  it('are made once a page while nothing changes', () => {
    const { bus, device, holder } = setUp(64);
    holder.connect();
    holder.run({});
    bus.translations = 0;
    for (let round = 0; round < 50; round++) holder.run({});
    expect(bus.translations).toBe(0);
    settle(device);
  });

  it('are dropped when the generation changes: an unmapped ring faults', () => {
    const { bus, holder } = setUp();
    holder.connect();
    holder.run({});
    bus.unmap(undefined, holder.ringIova, 4096);
    holder.run({});
    expect(holder.state).toBe(ringState.FAULTED);
  });

  it('are not kept where the bus tells no generation', () => {
    const bus = new TestBus({ withoutGeneration: true });
    const device = new MqdmaDevice({ queueCount: 1 });
    device.attach(bus);
    const holder = new TestHolder(device, bus, 0);
    holder.connect();
    holder.run({});
    bus.unmap(undefined, holder.completionsIova, 4096);
    holder.run({});
    expect(holder.state).toBe(ringState.FAULTED);
  });
});
