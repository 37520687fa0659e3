// Where leases of a function may have their IOVA windows: what the function can address, as far as
// its driver allows. Pure.
import { LessorError } from '../base/errors.js';
import { hex, roundDown, roundUp } from '../base/units.js';
import type { RunningDriver } from '../driver/types.js';
import type { FunctionInfo } from '../function/types.js';
import { type Aperture, firstIovaBase } from '../lease/iova-windows.js';

/**
 * The part that is in both, in whole IOVA pages.
 *
 * @throws LessorError `DRIVER_INVALID` when the driver names no range, or none is left
 */
export function leaseAperture(
  { aperture, iovaPageBytes }: Pick<FunctionInfo, 'aperture' | 'iovaPageBytes'>,
  driver: Pick<RunningDriver, 'aperture'>,
): Aperture {
  const asked = driver.aperture ?? aperture;
  if (!Number.isSafeInteger(asked.start) || !Number.isSafeInteger(asked.end) || asked.start < 0) {
    throw new LessorError('DRIVER_INVALID', `aperture ${asked.start} to ${asked.end} is no range`);
  }
  const start = roundUp(Math.max(aperture.start, asked.start), iovaPageBytes);
  const end = roundDown(Math.min(aperture.end, asked.end), iovaPageBytes);
  if (firstIovaBase({ start, end }, iovaPageBytes) >= end) {
    const both = `${hex(asked.start)} to ${hex(asked.end)} of ${hex(aperture.end)}`;
    throw new LessorError('DRIVER_INVALID', `aperture ${both} leaves no page to leases`);
  }
  return { start, end };
}
