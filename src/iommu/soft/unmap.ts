// IOMMU_IOAS_UNMAP.
import type { OsError } from '../../base/errors.js';
import { hex } from '../../base/units.js';
import { type UnmapRequest, u64Max } from '../requests.js';
import type { Area } from './area.js';
import { AreaIndex } from './area-index.js';
import { findIoas, releaseWhenSettled, type SoftContext } from './context.js';
import type { Ioas } from './ioas.js';
import { fail } from './objects.js';

const call = 'IOMMU_IOAS_UNMAP';

/** What was removed counts also when the removal ended with an error. */
export interface Removal {
  readonly size: bigint;
  readonly errno: OsError['errno'] | undefined;
}

/** How often the users of an area are asked to let go of it. */
const asksMax = 100;

/** Returns the bytes removed. Memory and table pages follow once the device acknowledged. */
export function unmapRange(context: SoftContext, request: UnmapRequest): bigint {
  const { iova, length } = request;
  const ioas = findIoas(context, request.ioasId, call);
  const isAll = iova === 0n && length === u64Max;
  if (!isAll && (iova === u64Max || length === u64Max)) throw fail('EOVERFLOW', call, 'U64_MAX');
  const { size, errno } = isAll
    ? unmapAllReported(context, ioas)
    : unmapReported(context, ioas, iova, length);
  if (errno !== undefined) throw fail(errno, call, `range ${hex(iova)} + ${hex(length)}`);
  if (size === 0n && !isAll) throw fail('ENOENT', call, 'nothing is mapped there');
  return size;
}

/** Nothing to remove is no error here. */
export function unmapReported(
  context: SoftContext,
  ioas: Ioas,
  iova: bigint,
  length: bigint,
): Removal {
  if (length === 0n) return { size: 0n, errno: 'EINVAL' };
  const last = iova + length - 1n;
  if (last > u64Max) return { size: 0n, errno: 'EOVERFLOW' };
  return removeRange(context, ioas, iova, last);
}

/** As `unmapReported` for the whole space. */
export function unmapAllReported(context: SoftContext, ioas: Ioas): Removal {
  if (ioas.uses.size > 0) return removeRange(context, ioas, 0n, u64Max);
  return { size: unmapAll(context, ioas), errno: undefined };
}

/** Ascending; ends at the first area that cannot go. */
function removeRange(context: SoftContext, ioas: Ioas, first: bigint, last: bigint): Removal {
  const removed: Area[] = [];
  let errno: OsError['errno'] | undefined;
  for (let at = first; at <= last; ) {
    const area = ioas.areas.firstMeeting(at, last);
    if (area === undefined) break;
    errno = obstacleOf(ioas, area, first, last);
    if (errno !== undefined) break;
    ioas.areas.remove(area);
    for (const hwpt of ioas.domains) hwpt.unmapArea(area);
    removed.push(area);
    at = area.last + 1n;
  }
  if (removed.length > 0) releaseWhenSettled(context, removed, ioas.domains);
  return { size: totalBytes(removed), errno };
}

/** Why an area cannot go. Users that pinned it are asked to let go first. */
function obstacleOf(
  ioas: Ioas,
  area: Area,
  first: bigint,
  last: bigint,
): OsError['errno'] | undefined {
  for (let asks = 1; ; asks++) {
    const use = ioas.uses.get(area);
    if (use !== undefined && use.lockCount > 0) return 'EBUSY';
    if (area.start < first || area.last > last) return 'ENOENT';
    if (use === undefined) return undefined;
    use.isEnding = true;
    for (const access of [...ioas.accesses]) access.onUnmap(area.start, area.length);
    if (asks > asksMax) return 'EDEADLK';
  }
}

/** As `unmapRange` in numbers up to 2^53, and fast for a range that is exactly one area. */
export function unmapLow(
  context: SoftContext,
  ioasId: number,
  iova: number,
  lengthBytes: number,
): void {
  const ioas = context.objects.get(ioasId);
  const isFast = ioas?.kind === 'ioas' && ioas.uses.size === 0;
  const area = isFast ? ioas.areas.take(iova, iova + lengthBytes) : undefined;
  if (area === undefined) {
    unmapRange(context, { ioasId, iova: BigInt(iova), length: BigInt(lengthBytes) });
    return;
  }
  const { domains } = area.ioas;
  for (let index = 0; index < domains.length; index++) domains[index]!.unmapArea(area);
  releaseWhenSettled(context, [area], domains);
}

/** Empties an IOAS; also for its end. */
export function unmapAll(context: SoftContext, ioas: Ioas): bigint {
  const removed = [...ioas.areas];
  ioas.areas = new AreaIndex();
  for (const hwpt of ioas.domains) hwpt.unmapAll();
  if (removed.length > 0) releaseWhenSettled(context, removed, ioas.domains);
  return totalBytes(removed);
}

function totalBytes(areas: readonly Area[]): bigint {
  let bytes = 0n;
  for (const area of areas) bytes += area.last - area.start + 1n;
  return bytes;
}
