// IOMMU_IOAS_UNMAP.
import { type UnmapRequest, u64Max } from '../requests.js';
import type { Area } from './area.js';
import { AreaIndex } from './area-index.js';
import { findIoas, releaseWhenSettled, type SoftContext } from './context.js';
import type { Ioas } from './ioas.js';
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
    ioas.areas.remove(area);
    for (const hwpt of ioas.domains) hwpt.unmapArea(area);
    removed.push(area);
    if (area.last === last) break;
    at = area.last + 1n;
  }
  if (removed.length > 0) releaseWhenSettled(context, removed, ioas.domains);
  if (isCut) throw fail('ENOENT', call, 'the range cuts an area');
  if (removed.length === 0) throw fail('ENOENT', call, 'nothing is mapped there');
  return totalBytes(removed);
}

/** As `unmapRange` in numbers up to 2^53, and fast for a range that is exactly one area. */
export function unmapLow(
  context: SoftContext,
  ioasId: number,
  iova: number,
  lengthBytes: number,
): void {
  const ioas = context.objects.get(ioasId);
  const area = ioas?.kind === 'ioas' ? ioas.areas.take(iova, iova + lengthBytes) : undefined;
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
