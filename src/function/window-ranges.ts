// Which ranges of a region a window may be made of, whatever is underneath. Pure.
import { LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { hex, isAligned } from '../base/units.js';
import type { BackingSpec, RegionRange, WindowRange } from './types.js';

/** A region, as far as its windows are concerned. */
export interface WindowRegion {
  readonly index: number;
  readonly lengthBytes: number;
}

function refuse(detail: string): never {
  throw new LessorError('INVALID_ARGUMENT', detail);
}

function checkRange(
  range: RegionRange,
  regions: readonly WindowRegion[],
  reserved: readonly RegionRange[],
): void {
  const region = regions.find((candidate) => candidate.index === range.region);
  const what = `${hex(range.offsetBytes)}+${hex(range.lengthBytes)} of region ${range.region}`;
  if (!region) refuse(`the function has no region ${range.region}`);
  if (!Number.isSafeInteger(range.offsetBytes) || range.offsetBytes < 0) refuse(`${what}: offset`);
  if (!Number.isSafeInteger(range.lengthBytes) || range.lengthBytes <= 0) refuse(`${what}: length`);
  if (!isAligned(range.offsetBytes, 8) || !isAligned(range.lengthBytes, 8)) {
    refuse(`${what} is not aligned to 8 bytes`);
  }
  const endBytes = range.offsetBytes + range.lengthBytes;
  if (endBytes > region.lengthBytes) refuse(`${what} is outside the region`);
  for (const kept of reserved) {
    const apart =
      kept.region !== range.region ||
      endBytes <= kept.offsetBytes ||
      range.offsetBytes >= kept.offsetBytes + kept.lengthBytes;
    if (!apart) refuse(`${what} overlaps the MSI-X table or PBA`);
  }
}

/**
 * Checks the ranges of a window, each by itself.
 *
 * @returns Bytes of the window. @throws LessorError `INVALID_ARGUMENT` for no range at all, one
 *   that is outside its region, over reserved parts or not of whole 8 bytes, and for more than
 *   `limits.windowBytesMax`.
 */
export function checkRanges(
  spec: BackingSpec,
  regions: readonly WindowRegion[],
  reserved: readonly RegionRange[],
): number {
  if (spec.ranges.length === 0) refuse('a window needs a range');
  let lengthBytes = 0;
  for (const range of spec.ranges) {
    checkRange({ region: spec.region, ...range }, regions, reserved);
    lengthBytes += range.lengthBytes;
  }
  if (lengthBytes > limits.windowBytesMax) refuse(`a window of ${lengthBytes} bytes is too long`);
  return lengthBytes;
}

/** True for whole pages, each range of them inside of one area. */
export function areMappable(
  ranges: readonly WindowRange[],
  areas: readonly WindowRange[],
  pageBytes: number,
): boolean {
  return ranges.every(
    ({ offsetBytes, lengthBytes }) =>
      isAligned(offsetBytes, pageBytes) &&
      isAligned(lengthBytes, pageBytes) &&
      areas.some(
        (area) =>
          area.offsetBytes <= offsetBytes &&
          offsetBytes + lengthBytes <= area.offsetBytes + area.lengthBytes,
      ),
  );
}

/**
 * No byte is of two windows, nor twice of one.
 *
 * @param others - What is open already.
 * @throws LessorError `INVALID_ARGUMENT`
 */
export function checkApart(spec: BackingSpec, others: Iterable<BackingSpec>): void {
  const taken = [...others]
    .filter(({ region }) => region === spec.region)
    .flatMap(({ ranges }) => ranges);
  for (const range of spec.ranges) {
    const end = range.offsetBytes + range.lengthBytes;
    const meets = taken.some(
      (other) =>
        other.offsetBytes < end && range.offsetBytes < other.offsetBytes + other.lengthBytes,
    );
    if (meets)
      refuse(`${hex(range.offsetBytes)} of region ${spec.region} is part of another window`);
    taken.push(range);
  }
}
