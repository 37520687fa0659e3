// Which doorbells a region may have. Pure.
import { LessorError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { hex } from '../../base/units.js';
import type { DeviceRegion, DoorbellSpec, FrameSpec } from '../../device/types.js';

const widths: ReadonlySet<number> = new Set([1, 2, 4, 8]);

function refuse(region: DeviceRegion, detail: string): never {
  throw new LessorError('INVALID_ARGUMENT', `region ${region.index}: ${detail}`);
}

/** By place, then by value, the one for any value first. */
function compare(a: DoorbellSpec, b: DoorbellSpec): number {
  if (a.offsetBytes !== b.offsetBytes) return a.offsetBytes - b.offsetBytes;
  const [left, right] = [a.datamatch ?? -1n, b.datamatch ?? -1n];
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

/** One register may ring by several values, each of which is a doorbell. */
function areApart(before: DoorbellSpec, after: DoorbellSpec): boolean {
  if (after.offsetBytes >= before.offsetBytes + before.lengthBytes) return true;
  return (
    after.offsetBytes === before.offsetBytes &&
    after.lengthBytes === before.lengthBytes &&
    before.datamatch !== undefined &&
    after.datamatch !== before.datamatch
  );
}

/** The frame that holds a byte. */
function frameAt(frames: readonly FrameSpec[], offsetBytes: number): FrameSpec | undefined {
  return frames.find(
    (frame) =>
      offsetBytes >= frame.offsetBytes && offsetBytes < frame.offsetBytes + frame.lengthBytes,
  );
}

function checkDoorbell(region: DeviceRegion, doorbell: DoorbellSpec, frame?: FrameSpec): void {
  const { offsetBytes, lengthBytes, datamatch } = doorbell;
  const what = `the doorbell at ${hex(offsetBytes)}`;
  if (!widths.has(lengthBytes)) refuse(region, `${what} is ${lengthBytes} bytes wide`);
  if (!Number.isSafeInteger(offsetBytes) || offsetBytes % lengthBytes !== 0) {
    refuse(region, `${what} is not aligned`);
  }
  if (offsetBytes < 0 || offsetBytes + lengthBytes > region.lengthBytes) {
    refuse(region, `${what} is outside`);
  }
  if (datamatch !== undefined && BigInt.asUintN(8 * lengthBytes, datamatch) !== datamatch) {
    refuse(region, `${what} rings by a value that it cannot hold`);
  }
  if (frame?.writable === false)
    refuse(region, `${what} is in a frame that only the device writes`);
}

/**
 * A region's doorbells in ascending order.
 *
 * @param frames - Of that region, checked.
 * @throws LessorError `INVALID_ARGUMENT` for those that cannot be, or are too many.
 */
export function planDoorbells(region: DeviceRegion, frames: readonly FrameSpec[]): DoorbellSpec[] {
  const doorbells = [...(region.doorbells ?? [])].sort(compare);
  if (doorbells.length > limits.vfioUserIoFdEntriesMax) {
    refuse(region, `${doorbells.length} doorbells, over ${limits.vfioUserIoFdEntriesMax}`);
  }
  let ownFdCount = 0;
  let sharesFd = false;
  let before: DoorbellSpec | undefined;
  for (const doorbell of doorbells) {
    const frame = frameAt(frames, doorbell.offsetBytes);
    checkDoorbell(region, doorbell, frame);
    if (before !== undefined && !areApart(before, doorbell)) {
      refuse(region, `the doorbell at ${hex(doorbell.offsetBytes)} overlaps another`);
    }
    before = doorbell;
    if (frame === undefined) ownFdCount += 1;
    else sharesFd = true;
  }
  const fdCount = ownFdCount + (sharesFd ? 1 : 0);
  if (fdCount > limits.vfioUserFdsMax) {
    refuse(region, `doorbells of ${fdCount} descriptors, over ${limits.vfioUserFdsMax}`);
  }
  return doorbells;
}
