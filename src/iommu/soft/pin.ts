// Placing the memory of an area, and giving it up: what Linux does by pinning pages.
import { assert } from '../../base/errors.js';
import { isAligned, roundDown, roundUp } from '../../base/units.js';
import type { Fd } from '../../os/fd.js';
import type { Area } from './area.js';
import type { SoftContext } from './context.js';
import { pageBytes } from './entry.js';
import type { Extent } from './extents.js';
import { fail } from './objects.js';
import { Pages, Pin, type Run } from './pages.js';
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
  if (pages?.placed !== undefined) {
    area.extents = pages.placed;
    return true;
  }
  if (pages !== undefined) {
    pinShared(context, area, pages, call);
    return true;
  }
  assert(fd !== undefined, 'an area of its own has a file');
  const { from, to } = pageSpan(area, call);
  try {
    const { account } = area;
    area.extents = context.extents.acquire(
      fd,
      from,
      to - from,
      area.isSourceWritable,
      account,
      area,
    );
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
  else {
    unpinAll(context, pages.takePins(area));
    context.payment?.update(pages);
  }
}

export function unpinAll(context: SoftContext, pins: readonly Pin[]): void {
  for (const each of pins) context.extents.release(each.extents, each.account, each);
}

/** The pages of an area, which others may join from now on. */
export function sharedPages(context: SoftContext, area: Area): Pages {
  if (area.pages !== undefined) return area.pages;
  const { extents, account } = area;
  assert(extents !== undefined, 'an area of its own is placed');
  const pages = new Pages('file', area.isSourceWritable, undefined);
  const user = new Pin(area, account);
  user.extents = context.extents.share(extents, account, user);
  context.extents.release(extents, account, area);
  area.pages = pages;
  pages.join(area);
  pages.setPins(area, [user]);
  const start = Number(area.sourceStart);
  area.extents = extents.map((extent) => within(extent, start, start + area.end - area.at));
  return pages;
}

/** The part of an extent that is in [start, end), in whole pages. */
function within(extent: Extent, start: number, end: number): Run {
  const from = Math.max(extent.startBytes, roundDown(start, pageBytes));
  const to = Math.min(extent.startBytes + extent.lengthBytes, roundUp(end, pageBytes));
  const offsetBytes = extent.offsetBytes + (from - extent.startBytes);
  return { startBytes: from, offsetBytes, lengthBytes: to - from, extent };
}

/** The part of the source that an area shows, in whole pages. */
/** No process has memory there; in Linux the end of the very last page does not fit 64 bits. */
function beyondErrno({ pages, sourceStart }: Area): 'EOVERFLOW' | 'EFAULT' | 'EINVAL' {
  if (pages?.kind !== 'user') return 'EINVAL';
  return BigInt(sourceStart) >= 2n ** 64n - BigInt(pageBytes) ? 'EOVERFLOW' : 'EFAULT';
}

function pageSpan(area: Area, call: string): { readonly from: number; readonly to: number } {
  const start = Number(area.sourceStart);
  const end = start + area.end - area.at;
  if (end > sourceEnd) {
    throw fail(beyondErrno(area), call, 'beyond what can be placed');
  }
  if (isAligned(start, pageBytes) && isAligned(end, pageBytes)) return { from: start, to: end };
  return { from: roundDown(start, pageBytes), to: roundUp(end, pageBytes) };
}

function pinShared(context: SoftContext, area: Area, pages: Pages, call: string): void {
  const { from, to } = pageSpan(area, call);
  const placing = new Placing(context, area, pages, call);
  try {
    placing.placeAll(from, to);
    // No page table takes it; the legacy interface lets it come this far.
    if (area.protection === 0) throw fail('EINVAL', call, 'neither read nor write');
  } catch (error) {
    unpinAll(context, placing.pins);
    throw pages.kind === 'user' ? userError(error, call) : pinError(error, call);
  }
  area.extents = placing.runs;
  pages.setPins(area, placing.pins);
  if (context.payment?.update(pages) === false) {
    unpin(context, area);
    throw fail('ENOMEM', call, 'the limit of locked memory');
  }
}
