// What a driver may offer: checked once when it started, before any lease. Pure.
import { LessorError } from '../base/errors.js';
import { windowMemories } from '../base/labels.js';
import { limits } from '../base/limits.js';
import { hex, isAligned } from '../base/units.js';
import type { FunctionInfo, RegionRange } from '../function/types.js';
import type { Slice, WindowSpec } from './types.js';

/** BARs that a lease can show. */
const barsMax = 6;
/** The list's own head, capability header included; then one window, its name aside. */
const listHeadBytes = 7;
const listEntryBytes = 11;

function refuse(slice: Slice, detail: string): never {
  throw new LessorError('DRIVER_INVALID', `slice ${slice.name}: ${detail}`);
}

function overlap(one: RegionRange, other: RegionRange): boolean {
  return (
    one.region === other.region &&
    one.offsetBytes < other.offsetBytes + other.lengthBytes &&
    other.offsetBytes < one.offsetBytes + one.lengthBytes
  );
}

function checkName(slice: Slice, window: WindowSpec): void {
  const { name } = window;
  if (!/^[\x21-\x7e]+$/.test(name) || name.length > limits.windowNameBytesMax) {
    refuse(slice, `window name "${name}" is not 1 to ${limits.windowNameBytesMax} ASCII bytes`);
  }
}

function checkPlace(info: FunctionInfo, slice: Slice, window: WindowSpec, pageBytes: number): void {
  const { offsetBytes, lengthBytes, region } = window;
  const what = `window ${window.name} at ${hex(offsetBytes)} of region ${region}`;
  const found = info.regions.find(({ index }) => index === region);
  if (found === undefined) refuse(slice, `${what}: the function has no such region`);
  const isRange = Number.isSafeInteger(offsetBytes) && Number.isSafeInteger(lengthBytes);
  if (!isRange || offsetBytes < 0 || lengthBytes <= 0) refuse(slice, `${what}: no range`);
  if (offsetBytes + lengthBytes > found.lengthBytes) refuse(slice, `${what}: past the region`);
  if (lengthBytes > limits.windowBytesMax) {
    refuse(slice, `${what}: longer than ${limits.windowBytesMax} bytes`);
  }
  if (!isAligned(offsetBytes, 8) || !isAligned(lengthBytes, 8)) {
    refuse(slice, `${what}: not aligned to 8 bytes`);
  }
  const paged = isAligned(offsetBytes, pageBytes) && isAligned(lengthBytes, pageBytes);
  if (window.mappable && !paged) {
    refuse(slice, `${what}: not aligned to the page of ${pageBytes} bytes; use mappable: false`);
  }
  if (window.mappable && !found.mappable) {
    refuse(slice, `${what}: the region cannot be mapped; use mappable: false`);
  }
}

function checkDoorbells(slice: Slice, window: WindowSpec): void {
  for (const { offsetBytes, lengthBytes } of window.doorbells ?? []) {
    const fits =
      offsetBytes >= 0 && lengthBytes > 0 && offsetBytes + lengthBytes <= window.lengthBytes;
    if (!fits) refuse(slice, `a doorbell of window ${window.name} is outside it`);
  }
}

function checkWindows(info: FunctionInfo, slice: Slice, pageBytes: number): void {
  const { windows } = slice;
  if (windows.length > limits.windowsPerSliceMax) {
    refuse(slice, `${windows.length} windows; at most ${limits.windowsPerSliceMax}`);
  }
  for (const [index, window] of windows.entries()) {
    checkName(slice, window);
    if (windows.findIndex(({ name }) => name === window.name) !== index) {
      refuse(slice, `two windows are named ${window.name}`);
    }
    const { memory = 'device' } = window;
    if (!windowMemories.includes(memory)) {
      refuse(slice, `window ${window.name}: memory "${memory}" is none`);
    }
    checkPlace(info, slice, window, pageBytes);
    checkDoorbells(slice, window);
  }
  const entryBytes = windows.map(({ name }) => listEntryBytes + name.length);
  const listBytes = entryBytes.reduce((sum, bytes) => sum + bytes, listHeadBytes);
  if (listBytes > limits.windowListBytesMax) {
    refuse(slice, `its window list takes ${listBytes} bytes; at most ${limits.windowListBytesMax}`);
  }
  const isWritable = ({ access }: WindowSpec): boolean => access === 'read-write';
  const kindOf = ({ region, memory = 'device' }: WindowSpec): string => `${region} ${memory}`;
  const writable = new Set(windows.filter(isWritable).map(kindOf));
  const readOnly = windows.filter((window) => window.access === 'read').length;
  const msix = slice.vectors.length > 0 ? 1 : 0;
  if (writable.size + readOnly + msix > barsMax) {
    refuse(slice, `its windows and MSI-X need more than ${barsMax} BARs`);
  }
}

function checkVectors(info: FunctionInfo, slice: Slice, taken: Map<number, Slice>): void {
  if (slice.vectors.length > limits.vectorsPerLeaseMax) {
    refuse(slice, `${slice.vectors.length} vectors; at most ${limits.vectorsPerLeaseMax}`);
  }
  for (const vector of slice.vectors) {
    if (!Number.isInteger(vector) || vector < 0 || vector >= info.vectorCount) {
      refuse(slice, `vector ${vector} is not one of the function's ${info.vectorCount}`);
    }
    const other = taken.get(vector);
    if (other !== undefined) refuse(slice, `vector ${vector} is also of slice ${other.name}`);
    taken.set(vector, slice);
  }
}

interface Place extends RegionRange {
  readonly slice: Slice;
  readonly name: string;
}

/** Windows of all slices, and what none may touch, by place: neighbours may not overlap. */
function checkOverlaps(slices: readonly Slice[], reserved: readonly RegionRange[]): void {
  const places: Place[] = slices.flatMap((slice) =>
    slice.windows.map(({ region, offsetBytes, lengthBytes, name }) => {
      return { region, offsetBytes, lengthBytes, slice, name };
    }),
  );
  for (const place of places) {
    const hit = reserved.find((range) => overlap(range, place));
    if (hit !== undefined) {
      refuse(
        place.slice,
        `window ${place.name} overlaps what is reserved at ${hex(hit.offsetBytes)}`,
      );
    }
  }
  places.sort((one, other) => one.region - other.region || one.offsetBytes - other.offsetBytes);
  for (let index = 1; index < places.length; index++) {
    const [before, place] = [places[index - 1]!, places[index]!];
    if (overlap(before, place)) {
      refuse(place.slice, `window ${place.name} overlaps ${before.name} of ${before.slice.name}`);
    }
  }
}

/**
 * Checks what a driver offers.
 *
 * @param reserved - Besides MSI-X table and PBA: the driver's control registers.
 * @param pageBytes - Page of the host: what is not aligned to it can only be mediated.
 * @throws LessorError `DRIVER_INVALID` with the slice and what is wrong.
 */
export function validateSlices(
  info: FunctionInfo,
  slices: readonly Slice[],
  reserved: readonly RegionRange[] = [],
  pageBytes: number = info.iovaPageBytes,
): void {
  if (slices.length === 0) throw new LessorError('DRIVER_INVALID', 'the driver offers no slice');
  const names = new Set<string>();
  const vectors = new Map<number, Slice>();
  for (const slice of slices) {
    if (slice.name === '' || names.has(slice.name)) refuse(slice, 'its name is empty or taken');
    names.add(slice.name);
    checkWindows(info, slice, pageBytes);
    checkVectors(info, slice, vectors);
  }
  checkOverlaps(slices, [...info.reserved, ...reserved]);
}
