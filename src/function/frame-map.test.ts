// What becomes a window: exactly whole frames, never reserved parts, never more than asked.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AssertionFailure, isLessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { DeviceRegion } from '../device/types.js';
import { frameAt, framesOf, planWindow } from './frame-map.js';
import type { BackingSpec, RegionRange } from './types.js';

const page = 4096;

function frames(...pages: [number, number, boolean][]) {
  return pages.map(([first, count, writable]) => ({
    offsetBytes: first * page,
    lengthBytes: count * page,
    writable,
  }));
}

const regions: DeviceRegion[] = [
  { index: 2, lengthBytes: 16 * page, frames: frames([4, 1, true], [0, 2, true], [2, 1, false]) },
  { index: 0, lengthBytes: page },
  { index: 4, lengthBytes: 2 * page, frames: frames([0, 2, true]) },
];
const reserved: RegionRange[] = [{ region: 4, offsetBytes: 0, lengthBytes: 64 }];
const places = framesOf(regions, page);

function plan(region: number, ...ranges: [number, number][]) {
  const spec: BackingSpec = {
    region,
    ranges: ranges.map(([first, count]) => ({
      offsetBytes: first * page,
      lengthBytes: count * page,
    })),
    access: 'read-write',
  };
  return planWindow(spec, regions, places, reserved);
}

describe('frames', () => {
  it('are numbered by region and offset', () => {
    expect(places.map(({ index, region, offsetBytes }) => [index, region, offsetBytes])).toEqual([
      [0, 2, 0],
      [1, 2, 2 * page],
      [2, 2, 4 * page],
      [3, 4, 0],
    ]);
    expect(frameAt(places, 2, 2 * page - 1)?.index).toBe(0);
    expect(frameAt(places, 2, 3 * page)).toBeUndefined();
    expect(frameAt(places, 0, 0)).toBeUndefined();
  });

  it.each([
    ['unaligned', [{ offsetBytes: 100, lengthBytes: page, writable: true }]],
    ['empty', [{ offsetBytes: 0, lengthBytes: 0, writable: true }]],
    ['outside', frames([15, 2, true])],
    ['overlapping', frames([0, 2, true], [1, 1, true])],
  ])('that are %s are a bug of the device', (_what, wrong) => {
    const region = { index: 2, lengthBytes: 16 * page, frames: wrong };
    expect(() => framesOf([region], page)).toThrow(AssertionFailure);
  });
});

describe('window', () => {
  it('lays its frames out one after the other', () => {
    const made = plan(2, [4, 1], [0, 2]);
    expect(made.lengthBytes).toBe(3 * page);
    const layout = made.frames.map((frame) => [frame.place.index, frame.windowOffsetBytes]);
    expect(layout).toEqual([
      [2, 0],
      [0, page],
    ]);
  });

  it('is made of messages alone where there are no frames', () => {
    expect(plan(0, [0, 1])).toEqual({ lengthBytes: page, frames: [] });
    expect(plan(2, [8, 2]).frames).toEqual([]);
  });

  it.each([
    ['half a frame', () => plan(2, [0, 1])],
    ['a gap', () => plan(2, [0, 5])],
    ['a read-only frame', () => plan(2, [2, 1])],
    ['frames and callbacks', () => plan(2, [0, 2], [8, 1])],
    ['the MSI-X table', () => plan(4, [0, 2])],
    ['more than the region', () => plan(2, [0, 17])],
  ])('refuses %s', (_what, make) => {
    expect(make).toThrowError(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });

  it('is as long as the limit, and no longer', () => {
    const whole = (lengthBytes: number) => {
      const region = { index: 1, lengthBytes: 2 * limits.windowBytesMax };
      const spec: BackingSpec = {
        region: 1,
        ranges: [{ offsetBytes: 0, lengthBytes }],
        access: 'read',
      };
      return planWindow(spec, [region], [], []);
    };
    expect(whole(limits.windowBytesMax).lengthBytes).toBe(limits.windowBytesMax);
    expect(() => whole(limits.windowBytesMax + 8)).toThrow(/too long/);
  });

  it('never shows what was not asked for', () => {
    const anyNumber = fc.oneof(
      fc.integer({ min: -2, max: 20 }).map((pages) => pages * page),
      fc.double(),
      fc.integer(),
    );
    const range = fc.record({ offsetBytes: anyNumber, lengthBytes: anyNumber });
    const spec = fc.record({
      region: fc.integer({ min: 0, max: 5 }),
      ranges: fc.array(range, { maxLength: 3 }),
      access: fc.constantFrom<'read' | 'read-write'>('read', 'read-write'),
    });
    fc.assert(
      fc.property(spec, (given) => {
        let made: ReturnType<typeof planWindow>;
        try {
          made = planWindow(given, regions, places, reserved);
        } catch (error) {
          expect(isLessorError(error, 'INVALID_ARGUMENT')).toBe(true);
          return;
        }
        for (const { place } of made.frames) {
          const inside = given.ranges.some(
            (one) =>
              place.offsetBytes >= one.offsetBytes &&
              place.offsetBytes + place.lengthBytes <= one.offsetBytes + one.lengthBytes,
          );
          expect(inside && place.region === given.region).toBe(true);
          expect(place.writable || given.access === 'read').toBe(true);
        }
        const shown = made.frames.reduce((sum, frame) => sum + frame.place.lengthBytes, 0);
        expect([0, made.lengthBytes]).toContain(shown);
      }),
      { numRuns: 500 },
    );
  });
});
