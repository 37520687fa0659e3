// IOMMU_IOAS_UNMAP.
import { type UnmapRequest, u64Max } from '../iommufd.js';
import { findIoas, releaseWhenSettled, type SoftContext } from './context.js';
import { IntervalIndex } from './interval-index.js';
import type { Area, Ioas } from './ioas.js';
import { fail } from './objects.js';

const call = 'IOMMU_IOAS_UNMAP';

/** Returns the bytes removed. Memory and table pages follow once the device acknowledged. */
export function unmapRange(context: SoftContext, request: UnmapRequest): bigint {
  const { iova, length } = request;
  const ioas = findIoas(context, request.ioasId, call);
  if (iova === 0n && length === u64Max) return unmapAll(context, ioas);
  if (iova === u64Max || length === u64Max) throw fail('EOVERFLOW', call, 'U64_MAX');
  if (length === 0n) throw fail('EINVAL', call, 'length 0');
  const last = iova + length - 1n;
  if (last > u64Max) throw fail('EOVERFLOW', call, 'iova + length');
  const removed: Area[] = [];
  let isCut = false;
  let at = iova;
  for (;;) {
    const area = ioas.areas.firstMeeting(at, last);
    if (area === undefined) break;
    isCut = area.start < iova || area.last > last;
    if (isCut) break;
    remove(ioas, area);
    removed.push(area);
    if (area.last === last) break;
    at = area.last + 1n;
  }
  if (removed.length > 0) releaseWhenSettled(context, removed, ioas.domains);
  if (isCut) throw fail('ENOENT', call, 'the range cuts an area');
  if (removed.length === 0) throw fail('ENOENT', call, 'nothing is mapped there');
  return totalBytes(removed);
}

/** Empties an IOAS; also for its end. */
export function unmapAll(context: SoftContext, ioas: Ioas): bigint {
  const removed = [...ioas.areas];
  ioas.areas = new IntervalIndex();
  for (const hwpt of ioas.domains) hwpt.unmapAll();
  if (removed.length > 0) releaseWhenSettled(context, removed, ioas.domains);
  return totalBytes(removed);
}

function remove(ioas: Ioas, area: Area): void {
  ioas.areas.remove(area.start);
  for (const hwpt of ioas.domains) hwpt.unmapArea(area);
}

function totalBytes(areas: readonly Area[]): bigint {
  let bytes = 0n;
  for (const area of areas) bytes += area.last - area.start + 1n;
  return bytes;
}
