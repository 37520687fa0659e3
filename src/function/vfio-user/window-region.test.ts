// What a server says of its frames is judged before it is believed.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isProtocolError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import {
  windowFrame,
  windowFrameWritable,
  windowRegionHeader,
  windowRegionMagic,
} from '../../uapi/window-region.js';
import { decodeWindowFrames } from './window-region.js';

const page = 4096;
const regions = [
  { index: 0, lengthBytes: 4 * page, mappable: false },
  { index: 2, lengthBytes: 2 ** 26, mappable: false },
];

interface Told {
  readonly region: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
}

function encode(frames: readonly Told[], head: { magic?: number; version?: number } = {}) {
  const bytes = new Uint8Array(16 + frames.length * windowFrame.sizeBytes);
  const value = { magic: windowRegionMagic, version: 1, frameCount: frames.length, ...head };
  windowRegionHeader.encodeAt(value, bytes, 0);
  frames.forEach((frame, index) => {
    windowFrame.encodeAt(frame, bytes, 16 + index * windowFrame.sizeBytes);
  });
  return bytes;
}

const decode = (bytes: Uint8Array) => decodeWindowFrames(bytes, regions, page);
const frame = (region: number, offset: number, length = page, flags = 0): Told => ({
  region,
  flags,
  offset,
  length,
});
const refused = (bytes: Uint8Array): void => {
  expect(() => decode(bytes)).toThrow(expect.objectContaining({ errno: 'EINVAL' }));
};

describe('the frames of a server', () => {
  it('are taken in order, by place', () => {
    const told = [frame(0, page, page, windowFrameWritable), frame(0, 2 * page), frame(2, 0)];
    expect(decode(encode(told))).toEqual([
      { index: 0, region: 0, offsetBytes: page, lengthBytes: page, writable: true },
      { index: 1, region: 0, offsetBytes: 2 * page, lengthBytes: page, writable: false },
      { index: 2, region: 2, offsetBytes: 0, lengthBytes: page, writable: false },
    ]);
  });

  it('of a version not known here are none', () => {
    expect(decode(encode([frame(0, 0)], { version: 2 }))).toBeUndefined();
  });

  it.each<[string, readonly Told[]]>([
    ['overlap', [frame(0, 0, 2 * page), frame(0, page)]],
    ['are out of order', [frame(0, page), frame(0, 0)]],
    ['are of regions out of order', [frame(2, 0), frame(0, 0)]],
    ['are off the page', [frame(0, 8)]],
    ['are no whole pages', [frame(0, 0, 100)]],
    ['are empty', [frame(0, 0, 0)]],
    ['pass the end', [frame(0, 3 * page, 2 * page)]],
    ['are of no region', [frame(1, 0)]],
  ])('are refused when they %s', (_what, told) => refused(encode(told)));

  it('are refused for another magic, or a count that does not fit', () => {
    refused(encode([frame(0, 0)], { magic: 1 }));
    refused(encode([frame(0, 0)]).subarray(0, 39));
    refused(new Uint8Array([...encode([frame(0, 0)]), 0]));
    refused(new Uint8Array(8));
  });

  it('are as many as the limit, and not one more', () => {
    const many = (count: number): Uint8Array =>
      encode(Array.from({ length: count }, (_, index) => frame(2, index * page)));
    expect(decode(many(limits.vfioUserWindowFramesMax))).toHaveLength(
      limits.vfioUserWindowFramesMax,
    );
    refused(many(limits.vfioUserWindowFramesMax + 1));
  });

  it('never do more than to be refused, whatever the bytes', () => {
    const near = fc
      .array(fc.tuple(fc.nat(3), fc.nat(3), fc.nat(20), fc.nat(4)), { maxLength: 6 })
      .map((told) => encode(told.map(([r, flags, o, l]) => frame(r, o * 2048, l * 2048, flags))));
    fc.assert(
      fc.property(fc.oneof(near, fc.uint8Array({ maxLength: 200 })), (bytes) => {
        let places: ReturnType<typeof decode>;
        try {
          places = decode(bytes);
        } catch (error) {
          expect(isProtocolError(error)).toBe(true);
          return;
        }
        for (const { region, offsetBytes, lengthBytes } of places ?? []) {
          const { lengthBytes: shown } = regions.find(({ index }) => index === region)!;
          expect(lengthBytes).toBeGreaterThan(0);
          expect(offsetBytes + lengthBytes).toBeLessThanOrEqual(shown);
          expect((offsetBytes | lengthBytes) % page).toBe(0);
        }
      }),
    );
  });
});
