import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { leaseAperture } from './lease-aperture.js';

const page = 4096;
const whole = { aperture: { start: 0, end: 2 ** 48 }, iovaPageBytes: page };
const refused = expect.objectContaining({ code: 'DRIVER_INVALID' });

describe('the aperture of leases', () => {
  test('is the function’s where the driver says nothing', () => {
    expect(leaseAperture(whole, {})).toEqual({ start: 0, end: 2 ** 48 });
  });

  test('is narrowed by the driver, never widened', () => {
    const driver = { aperture: { start: 0, end: 2 ** 28 } };
    expect(leaseAperture(whole, driver)).toEqual({ start: 0, end: 2 ** 28 });
    const narrow = { ...whole, aperture: { start: 0x10_0000, end: 2 ** 24 } };
    expect(leaseAperture(narrow, driver)).toEqual({ start: 0x10_0000, end: 2 ** 24 });
  });

  test('is whole pages of what both allow', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 2 ** 20 }),
        fc.integer({ min: 2 ** 21, max: 2 ** 30 }),
        fc.nat({ max: 2 ** 20 }),
        fc.integer({ min: 2 ** 21, max: 2 ** 30 }),
        fc.constantFrom(4096, 16_384, 65_536),
        (start, end, askedStart, askedEnd, iovaPageBytes) => {
          const info = { aperture: { start, end }, iovaPageBytes };
          const left = leaseAperture(info, { aperture: { start: askedStart, end: askedEnd } });
          expect([left.start % iovaPageBytes, left.end % iovaPageBytes]).toEqual([0, 0]);
          const [from, to] = [Math.max(start, askedStart), Math.min(end, askedEnd)];
          expect(left.start - from).toBeGreaterThanOrEqual(0);
          expect(left.start - from).toBeLessThan(iovaPageBytes);
          expect(to - left.end).toBeGreaterThanOrEqual(0);
          expect(to - left.end).toBeLessThan(iovaPageBytes);
        },
      ),
    );
  });

  test.each([
    [0, 0x1_0000],
    [0x2000_0000, 0x1000_0000],
    [2 ** 48, 2 ** 49],
    [-4096, 2 ** 28],
    [0, Number.NaN],
    [0.5, 2 ** 28],
    [0, Number.POSITIVE_INFINITY],
  ])('from %d to %d is refused', (start, end) => {
    expect(() => leaseAperture(whole, { aperture: { start, end } })).toThrow(refused);
  });

  test('of one page above the lowest base is enough', () => {
    const aperture = { start: 0, end: 0x1_1000 };
    expect(leaseAperture(whole, { aperture })).toEqual(aperture);
  });
});
