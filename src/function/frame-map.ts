// Which frames a device's regions have, and which of them a window is made of. Pure.
import { assert, LessorError } from '../base/errors.js';
import { hex, isAligned } from '../base/units.js';
import type { DeviceRegion } from '../device/types.js';
import type { BackingSpec, RegionRange } from './types.js';
import { checkRanges } from './window-ranges.js';

/** One frame of a region: what stands behind it can be swapped as a whole. */
export interface FramePlace {
  /** Position in the frame table. */
  readonly index: number;
  readonly region: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly writable: boolean;
}

/** All frames of a device in table order: by region, then by offset. */
export function framesOf(regions: readonly DeviceRegion[], pageBytes: number): FramePlace[] {
  const places: FramePlace[] = [];
  for (const region of [...regions].sort((a, b) => a.index - b.index)) {
    let endBytes = 0;
    for (const frame of [...(region.frames ?? [])].sort((a, b) => a.offsetBytes - b.offsetBytes)) {
      const what = `frame at ${hex(frame.offsetBytes)} of region ${region.index}`;
      assert(isAligned(frame.offsetBytes, pageBytes), `${what} is not page-aligned`);
      assert(isAligned(frame.lengthBytes, pageBytes), `${what} is not whole pages`);
      assert(
        frame.lengthBytes > 0 && frame.offsetBytes >= endBytes,
        `${what} overlaps or is empty`,
      );
      endBytes = frame.offsetBytes + frame.lengthBytes;
      assert(endBytes <= region.lengthBytes, `${what} is outside the region`);
      places.push({ ...frame, index: places.length, region: region.index });
    }
  }
  return places;
}

/** The frame that holds a byte of a region. */
export function frameAt(
  places: readonly FramePlace[],
  region: number,
  offsetBytes: number,
): FramePlace | undefined {
  return places.find(
    (place) =>
      place.region === region &&
      offsetBytes >= place.offsetBytes &&
      offsetBytes < place.offsetBytes + place.lengthBytes,
  );
}

/** One frame in a window: where the window shows it. */
export interface WindowFrame {
  readonly place: FramePlace;
  readonly windowOffsetBytes: number;
}

/** A checked window: `frames` is empty when only messages reach it. */
export interface WindowPlan {
  readonly lengthBytes: number;
  readonly frames: readonly WindowFrame[];
}

function refuse(detail: string): never {
  throw new LessorError('INVALID_ARGUMENT', detail);
}

/** The frames that tile a range exactly; none when the range touches no frame. */
function framesOfRange(places: readonly FramePlace[], range: RegionRange): FramePlace[] {
  const endBytes = range.offsetBytes + range.lengthBytes;
  const touched = places.filter(
    (place) =>
      place.region === range.region &&
      place.offsetBytes < endBytes &&
      place.offsetBytes + place.lengthBytes > range.offsetBytes,
  );
  if (touched.length === 0) return touched;
  const coveredBytes = touched.reduce((sum, place) => sum + place.lengthBytes, 0);
  const first = touched[0]!;
  if (first.offsetBytes !== range.offsetBytes || coveredBytes !== range.lengthBytes) {
    refuse(`the window at ${hex(range.offsetBytes)} is not made of whole frames`);
  }
  return touched;
}

/**
 * Checks what a window asks for and lays its frames out.
 *
 * @throws LessorError `INVALID_ARGUMENT` for ranges outside a region, over reserved parts, not of
 *   whole frames, writable where the frame is not, or longer than `limits.windowBytesMax`.
 */
export function planWindow(
  spec: BackingSpec,
  regions: readonly DeviceRegion[],
  places: readonly FramePlace[],
  reserved: readonly RegionRange[],
): WindowPlan {
  const lengthBytes = checkRanges(spec, regions, reserved);
  const frames: WindowFrame[] = [];
  let startBytes = 0;
  let framedCount = 0;
  for (const part of spec.ranges) {
    const range = { region: spec.region, ...part };
    const touched = framesOfRange(places, range);
    if (touched.length > 0) framedCount += 1;
    for (const place of touched) {
      if (spec.access === 'read-write' && !place.writable) {
        refuse(`the frame at ${hex(place.offsetBytes)} is read-only`);
      }
      if (frames.some((frame) => frame.place === place)) refuse('a window shows a frame twice');
      const windowOffsetBytes = startBytes + place.offsetBytes - part.offsetBytes;
      frames.push({ place, windowOffsetBytes });
    }
    startBytes += part.lengthBytes;
  }
  if (framedCount !== 0 && framedCount !== spec.ranges.length) {
    refuse('a window mixes frames and registers behind callbacks');
  }
  return { lengthBytes, frames };
}
