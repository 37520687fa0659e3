// The counter on a bus without a host: time stands still until told.
import { beforeEach, describe, expect, it } from 'vitest';
import { TestBus } from '../testing/test-bus.js';
import type { Width } from '../types.js';
import { CounterDevice } from './device.js';
import { counter, counterControl, counterPageWord, counterRegister } from './registers.js';

const { registerRegion, pageRegion, msixRegion } = counter;
const { ID, COUNT, COMPARE, CONTROL, STATUS, ADD } = counterRegister;
const { RUN, INTERRUPT } = counterControl;

let bus: TestBus;
let device: CounterDevice;

function newCounter(): { bus: TestBus; device: CounterDevice } {
  const bus = new TestBus();
  const device = new CounterDevice();
  device.attach(bus);
  return { bus, device };
}

beforeEach(() => {
  ({ bus, device } = newCounter());
});

function read(register: number, width: Width = 4) {
  return device.read(registerRegion, register, width);
}

function write(register: number, value: number): void {
  device.write(registerRegion, register, 4, value);
}

/** Lets time pass as a host would: a step when the device asked for one. */
function pass(ms: number): void {
  const endMs = bus.now + ms;
  while (bus.wakeAtMs !== undefined && bus.wakeAtMs <= endMs) {
    bus.now = bus.wakeAtMs;
    bus.wakeAtMs = undefined;
    device.step();
  }
  bus.now = endMs;
}

const page = () => Array.from(bus.frameOf(pageRegion, 0).u32.subarray(0, 2));

describe('the registers of a counter', () => {
  it('say what it is and start from nothing', () => {
    expect(read(ID)).toBe(counter.id);
    expect([COUNT, COMPARE, CONTROL, STATUS, ADD].map((at) => read(at))).toEqual([0, 0, 0, 0, 0]);
    write(ID, 1);
    expect(read(ID)).toBe(counter.id);
  });

  it('keep what is written, as far as it means something', () => {
    write(COUNT, 0xfffffff0);
    write(COMPARE, 0x80000000);
    write(CONTROL, 0xfffffffe);
    expect([read(COUNT), read(COMPARE), read(CONTROL)]).toEqual([0xfffffff0, 0x80000000, 2]);
  });

  it.each([
    [1, 0xff],
    [2, 0xffff],
    [8, 0xffff_ffff_ffff_ffffn],
  ] as const)('are not there for %i bytes', (width, ones) => {
    write(COUNT, 5);
    expect(read(COUNT, width)).toBe(ones);
    device.write(registerRegion, COUNT, width, width === 8 ? 9n : 9);
    expect(read(COUNT)).toBe(5);
  });

  it('end after the last one', () => {
    expect(read(0x18)).toBe(0xffffffff);
    write(0x18, 1);
    expect(read(0x18)).toBe(0xffffffff);
  });

  it('are those of BAR0 alone', () => {
    write(COUNT, 5);
    device.write(pageRegion, COUNT, 4, 6);
    device.write(msixRegion, COUNT, 4, 7);
    expect(read(COUNT)).toBe(5);
    expect(device.read(pageRegion, COUNT, 4)).toBe(0xffffffff);
    expect(device.read(msixRegion, COUNT, 4)).toBe(0xffffffff);
  });
});

describe('counting', () => {
  it('follows the clock while it runs, in whole milliseconds', () => {
    write(CONTROL, RUN);
    bus.now += 2.75;
    expect(read(COUNT)).toBe(2);
    bus.now += 0.25;
    expect(read(COUNT)).toBe(3);
    write(CONTROL, 0);
    bus.now += 100;
    expect(read(COUNT)).toBe(3);
    write(CONTROL, RUN);
    bus.now += 1;
    expect(read(COUNT)).toBe(4);
  });

  it('wraps after 2^32', () => {
    write(COUNT, 0xffffffff);
    write(ADD, 3);
    expect(read(COUNT)).toBe(2);
  });

  it.each([
    [0, 5, 4, false],
    [0, 5, 5, true],
    [0, 5, 6, true],
    [6, 5, 0xfffffffe, false],
    [6, 5, 0xffffffff, true],
    [5, 5, 0, false],
    [5, 5, 0xffffffff, false],
    [0xfffffffe, 1, 3, true],
  ])('from %i, comparing with %i, by %i reaches: %s', (count, compare, add, reached) => {
    write(COUNT, count);
    write(COMPARE, compare);
    write(ADD, add);
    expect(read(STATUS)).toBe(reached ? 1 : 0);
  });

  it('shows the page without being asked, at least every 10 ms', () => {
    write(CONTROL, RUN);
    write(COMPARE, 25);
    for (let ms = 1; ms <= 40; ms++) {
      pass(1);
      expect(ms - page()[counterPageWord.COUNT]!).toBeLessThanOrEqual(counter.pageAgeMsMax);
      expect(page()[counterPageWord.STATUS]).toBe(ms >= 25 ? 1 : 0);
    }
  });

  it('does not look at what a client writes into the page', () => {
    write(ADD, 7);
    bus.frameOf(pageRegion, 0).u32.fill(0xdead);
    device.step();
    expect(read(COUNT)).toBe(7);
    expect(page()).toEqual([7, 0]);
  });

  it('rests while it does not run', () => {
    write(COMPARE, 5);
    bus.wakeAtMs = undefined;
    expect(device.step()).toBe('idle');
    expect(bus.wakeAtMs).toBe(undefined);
  });
});

describe('interrupts', () => {
  it('come at the moment of the match, once, and hold the pin until acknowledged', () => {
    write(COMPARE, 30);
    write(CONTROL, RUN | INTERRUPT);
    pass(29);
    expect([bus.interrupts, bus.intx]).toEqual([[], false]);
    pass(1);
    expect([bus.interrupts, bus.intx]).toEqual([[0], true]);
    pass(100);
    expect([bus.interrupts, bus.intx]).toEqual([[0], true]);
    write(STATUS, 1);
    expect([read(STATUS), bus.intx]).toEqual([0, false]);
  });

  it('are asked for by a bit', () => {
    write(COMPARE, 1);
    write(ADD, 1);
    expect([read(STATUS), bus.interrupts, bus.intx]).toEqual([1, [], false]);
    write(CONTROL, INTERRUPT);
    expect([bus.interrupts, bus.intx]).toEqual([[], true]);
    write(CONTROL, 0);
    expect(bus.intx).toBe(false);
  });
});

describe('a reset', () => {
  it('leaves nothing', () => {
    write(COMPARE, 2);
    write(CONTROL, RUN | INTERRUPT);
    pass(3);
    device.reset();
    pass(100);
    expect([COUNT, COMPARE, CONTROL, STATUS].map((at) => read(at))).toEqual([0, 0, 0, 0]);
    expect([bus.intx, page()]).toEqual([false, [0, 0]]);
  });
});

describe('migration', () => {
  it('goes on elsewhere as if nothing had been', () => {
    write(COMPARE, 50);
    write(CONTROL, RUN | INTERRUPT);
    pass(20);
    device.migration.stop();
    pass(500);
    const state = device.migration.save();

    const elsewhere = newCounter();
    elsewhere.bus.now = 77_000;
    elsewhere.device.migration.stop();
    elsewhere.device.migration.load(state);
    expect(Array.from(elsewhere.bus.frameOf(pageRegion, 0).u32.subarray(0, 2))).toEqual([20, 0]);
    elsewhere.bus.now += 500;
    ({ bus, device } = elsewhere);
    device.migration.start();
    pass(29);
    expect([read(COUNT), bus.interrupts]).toEqual([49, []]);
    pass(1);
    expect([read(COUNT), bus.interrupts, bus.intx]).toEqual([50, [0], true]);
  });

  it('takes a pending interrupt along', () => {
    write(COMPARE, 1);
    write(CONTROL, INTERRUPT);
    write(ADD, 1);
    device.migration.stop();
    const state = device.migration.save();
    ({ bus, device } = newCounter());
    device.migration.stop();
    device.migration.load(state);
    expect([bus.interrupts, bus.intx]).toEqual([[], false]);
    device.migration.start();
    expect([bus.interrupts, bus.intx]).toEqual([[0], true]);
  });

  it('neither counts nor interrupts while stopped', () => {
    write(COMPARE, 1);
    write(CONTROL, INTERRUPT);
    device.migration.stop();
    write(ADD, 5);
    expect([read(COUNT), read(STATUS), bus.interrupts, bus.intx]).toEqual([0, 0, [], false]);
  });

  it.each([
    ['nothing', (_: Uint8Array) => new Uint8Array(0)],
    ['a byte too few', (state: Uint8Array) => state.subarray(1)],
    ['a byte too many', (state: Uint8Array) => Uint8Array.of(...state, 0)],
    ['another device', (state: Uint8Array) => state.fill(1, 0, 1)],
    ['another version', (state: Uint8Array) => state.fill(9, 4, 5)],
    ['an unknown control bit', (state: Uint8Array) => state.fill(4, 16, 17)],
    ['an unknown status bit', (state: Uint8Array) => state.fill(2, 20, 21)],
  ])('refuses %s and keeps what it has', (_, spoil) => {
    write(COUNT, 5);
    device.migration.stop();
    const spoilt = spoil(device.migration.save());
    expect(() => device.migration.load(spoilt)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
    expect(read(COUNT)).toBe(5);
  });
});
