// The windows of a slice for a process that gets the device itself. Pure.
import type { WindowSpec } from '../driver/types.js';
import type { FunctionInfo } from '../function/types.js';
import { areMappable } from '../function/window-ranges.js';
import { windowsOf } from './layout.js';

/** Windows stay where they are in their BARs, of which a lease shows smaller ones than this. */
const barBytesMax = 2 ** 31;

/**
 * Every window of the slice, mapped; undefined where one cannot be: such a device is given to
 * nobody. A mapping of the device does to memory what the device is, nothing more.
 */
export function deviceWindows(
  windows: readonly WindowSpec[],
  { regions }: Pick<FunctionInfo, 'regions'>,
  pageBytes: number,
): readonly WindowSpec[] | undefined {
  const isHeld = (spec: WindowSpec): boolean => {
    const areas = regions.find(({ index }) => index === spec.region)?.deviceAreas ?? [];
    const isNear = spec.offsetBytes + spec.lengthBytes <= barBytesMax;
    return isNear && areMappable([spec], areas, pageBytes);
  };
  if (!windows.every(isHeld)) return undefined;
  return windowsOf(windows, {}).map((spec) => ({ ...spec, mappable: true }));
}
