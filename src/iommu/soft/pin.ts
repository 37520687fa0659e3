// Placing the memory of an area, and giving it up: what Linux does by pinning pages.
import { assert } from '../../base/errors.js';
import { isAligned, roundDown, roundUp } from '../../base/units.js';
import type { Fd } from '../../os/fd.js';
import { IOMMU_IOAS_MAP_WRITEABLE } from '../../uapi/iommufd.js';
import type { Area } from './area.js';
import type { SoftContext } from './context.js';
import { pageBytes } from './entry.js';
import { fail } from './objects.js';
import type { Pages, Pin } from './pages.js';
import { pinError, userError } from './pin-error.js';
import { Placing } from './placing.js';

/** Offsets are numbers: nothing beyond can be placed. */
const sourceEnd = 2 ** 53;

/**
 * Places the memory of an area, unless it is placed. All or nothing.
 *
 * @param fd - Its file, for an area without `pages`.
 * @returns False when there was nothing to do.
 * @throws OsError `EFAULT` for memory of a process, `EINVAL`, `ENOMEM`, and `safetyErrnos`
 */
export function pin(
  context: SoftContext,
  area: Area,
  call: string,
  fd: Fd | undefined = undefined,
): boolean {
  if (area.extents !== undefined || area.isUnreachable) return false;
  const { pages } = area;
  if (pages !== undefined) {
    pinShared(context, area, pages, call);
    return true;
  }
  assert(fd !== undefined, 'an area of its own has a file');
  const isWritable = (area.protection & IOMMU_IOAS_MAP_WRITEABLE) !== 0;
  const { from, to } = pageSpan(area, call);
  try {
    const { account } = area;
    area.extents = context.extents.acquire(fd, from, to - from, isWritable, account, area);
  } catch (error) {
    throw pinError(error, call);
  }
  return true;
}

/** Gives up what `pin` placed; only what no device can reach any more. */
export function unpin(context: SoftContext, area: Area): void {
  const { pages, extents } = area;
  if (extents === undefined) return;
  area.extents = undefined;
  if (pages === undefined) context.extents.release(extents, area.account, area);
  else unpinAll(context, pages.takePins(area));
}

export function unpinAll(context: SoftContext, pins: readonly Pin[]): void {
  for (const each of pins) context.extents.release(each.extents, each.account, each);
}

/** The part of the source that an area shows, in whole pages. */
function pageSpan(area: Area, call: string): { readonly from: number; readonly to: number } {
  const start = Number(area.sourceStart);
  const end = start + area.end - area.at;
  if (end > sourceEnd) throw fail('EINVAL', call, 'beyond what can be placed');
  if (isAligned(start, pageBytes) && isAligned(end, pageBytes)) return { from: start, to: end };
  return { from: roundDown(start, pageBytes), to: roundUp(end, pageBytes) };
}

function pinShared(context: SoftContext, area: Area, pages: Pages, call: string): void {
  const { from, to } = pageSpan(area, call);
  const placing = new Placing(context, area, pages, call);
  try {
    placing.placeAll(from, to);
  } catch (error) {
    unpinAll(context, placing.pins);
    throw pages.kind === 'user' ? userError(error, call) : pinError(error, call);
  }
  area.extents = placing.runs;
  pages.setPins(area, placing.pins);
}
