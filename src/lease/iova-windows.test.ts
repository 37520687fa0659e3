import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MiB } from '../base/units.js';
import { firstIovaBase, type IovaRange, IovaWindows } from './iova-windows.js';

const page = 4096;

describe('IOVA windows', () => {
  test('start at 64 KiB, or where the aperture does', () => {
    expect(firstIovaBase({ start: 0, end: 2 ** 48 }, page)).toBe(0x10000);
    expect(firstIovaBase({ start: 0x1000_0800, end: 2 ** 48 }, page)).toBe(0x1000_1000);
    expect(firstIovaBase({ start: 0, end: 2 ** 48 }, 0x20000)).toBe(0x20000);
  });

  test('lie one behind the other, in pages', () => {
    const windows = new IovaWindows({ start: 0, end: 2 ** 32 }, page);
    expect(windows.allocate(1)).toEqual({ base: 0x10000, lengthBytes: page });
    expect(windows.allocate(page + 1)).toEqual({ base: 0x11000, lengthBytes: 2 * page });
  });

  test('large ones are aligned for large pages, small ones fill the gap before them', () => {
    const windows = new IovaWindows({ start: 0, end: 2 ** 32 }, page);
    expect(windows.allocate(3 * MiB)?.base).toBe(2 * MiB);
    expect(windows.allocate(page)?.base).toBe(0x10000);
  });

  test('fill the aperture to its last page and not beyond', () => {
    const windows = new IovaWindows({ start: 0x10000, end: 0x10000 + 3 * page + 5 }, page);
    expect(windows.allocate(3 * page + 1)).toBeUndefined();
    expect(windows.allocate(3 * page)).toBeDefined();
    expect(windows.allocate(1)).toBeUndefined();
    expect(windows.takenBytes).toBe(3 * page);
  });

  test('keep clear of what is reserved, whole pages of it, and do not grow over it', () => {
    const reserved = [
      { start: 0x1_3000, end: 0x1_4000 },
      { start: 0x1_1800, end: 0x1_2001 },
      { start: 0, end: 0x100 },
      { start: 0x1_1900, end: 0x1_1a00 },
    ];
    const windows = new IovaWindows({ start: 0, end: 0x1_6000 }, page, reserved);
    const free = windows.freeRanges.map(({ base, lengthBytes }) => [base, lengthBytes]);
    expect(free).toEqual([
      [0x1_0000, page],
      [0x1_4000, 2 * page],
    ]);
    const [one, two] = [windows.allocate(page)!, windows.allocate(2 * page)!];
    expect(windows.allocate(1)).toBeUndefined();
    windows.free(one);
    windows.free(two);
    expect(windows.freeRanges).toHaveLength(2);
  });

  test('an aperture below the first address has none', () => {
    expect(new IovaWindows({ start: 0, end: 0x10000 }, page).allocate(1)).toBeUndefined();
  });

  test('a range that was not given out is our own bug', () => {
    const windows = new IovaWindows({ start: 0, end: 2 ** 32 }, page);
    const range = windows.allocate(2 * page)!;
    expect(() => windows.free({ base: range.base, lengthBytes: page })).toThrow('is not in use');
    windows.free(range);
    expect(() => windows.free(range)).toThrow('is not in use');
  });

  test('are disjoint, first fit, and grow together again whatever the order of freeing', () => {
    const aperture = { start: 0, end: 64 * MiB };
    const use = fc.oneof(
      fc.record({ take: fc.integer({ min: 1, max: 5 * MiB }) }),
      fc.record({ give: fc.nat(20) }),
    );
    fc.assert(
      fc.property(fc.array(use, { maxLength: 60 }), (uses) => {
        const windows = new IovaWindows(aperture, page);
        const whole = windows.freeRanges[0]!;
        const taken: IovaRange[] = [];
        for (const action of uses) {
          if ('take' in action) {
            const range = windows.allocate(action.take);
            if (!range) continue;
            expect(range.base % page).toBe(0);
            expect(range.lengthBytes).toBeGreaterThanOrEqual(action.take);
            taken.push(range);
          } else if (taken.length > 0) {
            windows.free(taken.splice(action.give % taken.length, 1)[0]!);
          }
          const all = [...taken, ...windows.freeRanges].sort((a, b) => a.base - b.base);
          let end = whole.base;
          for (const range of all) {
            expect(range.base).toBe(end);
            end += range.lengthBytes;
          }
          expect(end).toBe(aperture.end);
          expect(windows.takenBytes).toBe(taken.reduce((sum, r) => sum + r.lengthBytes, 0));
        }
        for (const range of taken) windows.free(range);
        expect(windows.freeRanges).toEqual([whole]);
      }),
    );
  });
});
