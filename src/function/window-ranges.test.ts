// Ranges of windows: each alone, and all of them against each other.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isLessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { BackingSpec } from './types.js';
import { checkApart, checkRanges } from './window-ranges.js';

const regions = [{ index: 2, lengthBytes: 2 * limits.windowBytesMax }];
const reserved = [{ region: 2, offsetBytes: 0x1000, lengthBytes: 0x40 }];

function spec(...ranges: [number, number][]): BackingSpec {
  const parts = ranges.map(([offsetBytes, lengthBytes]) => ({ offsetBytes, lengthBytes }));
  return { region: 2, ranges: parts, access: 'read-write' };
}

function isTaken(what: () => unknown): boolean {
  try {
    what();
    return true;
  } catch (error) {
    if (isLessorError(error) && error.code === 'INVALID_ARGUMENT') return false;
    throw error;
  }
}

describe('the ranges of a window', () => {
  it('add up to its length, up to the limit', () => {
    expect(checkRanges(spec([0, 0x1000], [0x2000, 8]), regions, reserved)).toBe(0x1008);
    const last = limits.windowBytesMax - 0x1000;
    const most = spec([0, 0x1000], [0x2000, last]);
    expect(checkRanges(most, regions, reserved)).toBe(limits.windowBytesMax);
    const over = spec([0, 0x1000], [0x2000, last + 8]);
    expect(isTaken(() => checkRanges(over, regions, reserved))).toBe(false);
  });

  it.each([
    ['none', []],
    ['no bytes', [[0, 0]]],
    ['before the region', [[-8, 8]]],
    ['past the region', [[2 * limits.windowBytesMax - 8, 16]]],
    ['far past it', [[2 ** 60, 8]]],
    ['off 8 bytes', [[4, 8]]],
    ['not of whole 8 bytes', [[0, 12]]],
    ['over the last reserved bytes', [[0x1038, 8]]],
    ['around what is reserved', [[0, 0x2000]]],
    [
      'good and bad',
      [
        [0, 8],
        [0, Number.NaN],
      ],
    ],
  ] as [string, [number, number][]][])('are refused: %s', (_what, ranges) => {
    expect(isTaken(() => checkRanges(spec(...ranges), regions, reserved))).toBe(false);
  });

  it('share no byte with each other or with another window of the region', () => {
    const range = fc.tuple(fc.nat(20), fc.integer({ min: 1, max: 6 }));
    const ranges = fc.array(range, { minLength: 1, maxLength: 4 });
    const bytesOf = (parts: [number, number][]): number[] =>
      parts.flatMap(([at, count]) => Array.from({ length: count }, (_, index) => at + index));
    fc.assert(
      fc.property(ranges, fc.array(ranges, { maxLength: 3 }), (one, others) => {
        const own = bytesOf(one);
        const foreign = new Set(others.flatMap(bytesOf));
        const alone = new Set(own).size === own.length;
        const apart = alone && !own.some((byte) => foreign.has(byte));
        const open = others.map((parts) => spec(...parts));
        expect(isTaken(() => checkApart(spec(...one), open))).toBe(apart);
        const elsewhere = open.map((other) => ({ ...other, region: 4 }));
        expect(isTaken(() => checkApart(spec(...one), elsewhere))).toBe(alone);
      }),
    );
  });
});
