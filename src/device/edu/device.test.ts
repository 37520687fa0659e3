// The EDU device against what QEMU's page says of it, on a bus without a host.
import { describe, expect, it } from 'vitest';
import { EduGuest } from '../testing/edu-guest.js';
import { createEdu } from './device.js';
import { factorialModulo32 } from './factorial.js';
import { eduRegister } from './registers.js';

const {
  IDENTIFICATION,
  LIVENESS,
  FACTORIAL,
  STATUS,
  INTERRUPT_STATUS,
  INTERRUPT_RAISE,
  INTERRUPT_ACKNOWLEDGE,
  DMA_SOURCE,
} = eduRegister;

describe('identification, liveness and widths', () => {
  it('are those of QEMU', () => {
    const guest = new EduGuest();
    expect(guest.device.config).toMatchObject({
      vendorId: 0x1234,
      deviceId: 0x11e8,
      revisionId: 0x10,
      classCode: 0x00ff00,
      msiVectorCount: 1,
      intx: true,
    });
    expect(guest.device.regions).toEqual([{ index: 0, lengthBytes: 0x100000 }]);
    expect(guest.read(IDENTIFICATION)).toBe(0x010000ed);
    guest.write(IDENTIFICATION, 0);
    expect(guest.read(IDENTIFICATION)).toBe(0x010000ed);
    guest.write(LIVENESS, 0x12345678);
    expect(guest.read(LIVENESS)).toBe(0xedcba987);
    guest.write(LIVENESS, 0xffffffff);
    expect(guest.read(LIVENESS)).toBe(0);
  });

  it.each([
    [1, 0xff],
    [2, 0xffff],
    [8, 0xffff_ffff_ffff_ffffn],
  ] as const)('below 0x80 nothing answers to %i bytes', (width, ones) => {
    const guest = new EduGuest();
    guest.write(LIVENESS, 0);
    guest.write(LIVENESS, width === 8 ? 5n : 5, width);
    expect(guest.read(LIVENESS, width)).toBe(ones);
    expect(guest.read(LIVENESS)).toBe(0xffffffff);
  });

  it('from 0x80 on registers take 4 bytes or 8', () => {
    const guest = new EduGuest();
    guest.write(DMA_SOURCE, 0x1122_3344_5566_7788n, 8);
    expect(guest.read(DMA_SOURCE, 8)).toBe(0x1122_3344_5566_7788n);
    expect(guest.read(DMA_SOURCE)).toBe(0x55667788);
    expect(guest.read(DMA_SOURCE, 2)).toBe(0xffff);
    guest.write(DMA_SOURCE, 7, 2);
    guest.write(DMA_SOURCE, 0x9abcdef0);
    expect(guest.read(DMA_SOURCE, 8)).toBe(0x9abcdef0n);
  });

  it.each([0x0c, 0x60, 0x64, 0x84, 0x8c, 0xa0, 0x40000, 0xffffc])('%i reads ones', (offset) => {
    const guest = new EduGuest();
    guest.write(offset, 0);
    expect(guest.read(offset)).toBe(0xffffffff);
    if (offset >= 0x80) expect(guest.read(offset, 8)).toBe(0xffff_ffff_ffff_ffffn);
  });
});

describe('the factorial', () => {
  it('is the product modulo 2^32', () => {
    for (let n = 0, product = 1n; n < 60; n++, product *= BigInt(n)) {
      expect(factorialModulo32(n)).toBe(Number(BigInt.asUintN(32, product)));
    }
    expect([1000, 2 ** 31, 2 ** 32 - 1].map(factorialModulo32)).toEqual([0, 0, 0]);
  });

  it('is computed in a step and not in the write', () => {
    const guest = new EduGuest();
    guest.write(FACTORIAL, 10);
    expect(guest.bus.wakeAtMs).toBe(guest.bus.now);
    expect([guest.read(STATUS), guest.read(FACTORIAL)]).toEqual([1, 10]);
    guest.write(FACTORIAL, 3);
    guest.step();
    expect([guest.read(STATUS), guest.read(FACTORIAL)]).toEqual([0, 3_628_800]);
    expect(guest.bus.interrupts).toEqual([]);
  });

  it('interrupts when the status register asks for it', () => {
    const guest = new EduGuest();
    guest.write(STATUS, 0xffffffff);
    expect(guest.read(STATUS)).toBe(0x80);
    guest.write(FACTORIAL, 5);
    expect(guest.read(STATUS)).toBe(0x81);
    guest.write(STATUS, 0x80);
    expect(guest.read(STATUS)).toBe(0x81);
    guest.step();
    expect([guest.read(STATUS), guest.read(INTERRUPT_STATUS)]).toEqual([0x80, 1]);
    expect([guest.bus.interrupts, guest.bus.intx]).toEqual([[0], true]);
    guest.write(STATUS, 0);
    guest.write(INTERRUPT_ACKNOWLEDGE, 1);
    guest.write(FACTORIAL, 5);
    guest.step();
    expect([guest.read(INTERRUPT_STATUS), guest.bus.interrupts]).toEqual([0, [0]]);
  });
});

describe('interrupts', () => {
  it('are raised and acknowledged by value, and hold the pin while any bit is left', () => {
    const guest = new EduGuest();
    guest.write(INTERRUPT_RAISE, 0);
    expect([guest.bus.interrupts, guest.bus.intx]).toEqual([[], false]);
    guest.write(INTERRUPT_RAISE, 0x8000_0002);
    guest.write(INTERRUPT_RAISE, 0x10);
    expect(guest.read(INTERRUPT_STATUS)).toBe(0x8000_0012);
    expect([guest.bus.interrupts, guest.bus.intx]).toEqual([[0, 0], true]);
    guest.write(INTERRUPT_ACKNOWLEDGE, 0x12);
    expect([guest.read(INTERRUPT_STATUS), guest.bus.intx]).toEqual([0x8000_0000, true]);
    guest.write(INTERRUPT_ACKNOWLEDGE, 0xffffffff);
    expect([guest.read(INTERRUPT_STATUS), guest.bus.intx]).toEqual([0, false]);
    expect(guest.bus.interrupts).toHaveLength(2);
  });
});

it.each([
  [{ dmaBits: 11 }],
  [{ dmaBits: 49 }],
  [{ dmaBits: 20.5 }],
  [{ dmaDelayMs: -1 }],
  [{ dmaDelayMs: 60_001 }],
])('refuses the options %j', (options) => {
  expect(() => createEdu(options)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
});

it.each([{ dmaBits: 12 }, { dmaBits: 48 }, { dmaDelayMs: 0 }, { dmaDelayMs: 60_000 }])(
  'takes the options %j',
  (options) => {
    expect(createEdu(options).regions).toHaveLength(1);
  },
);
