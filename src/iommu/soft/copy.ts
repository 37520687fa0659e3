// IOMMU_IOAS_COPY: areas or parts of them at a second place, over the same memory.
import { IOMMU_IOAS_MAP_WRITEABLE } from '../../uapi/iommufd.js';
import { type CopyRequest, u64Max } from '../requests.js';
import { type Area, createArea } from './area.js';
import { findIoas, type SoftContext } from './context.js';
import type { Ioas } from './ioas.js';
import { addAreas, checkRequest, checkSource, place, protectionMask } from './map-common.js';
import { fail } from './objects.js';
import { sharedPages } from './pin.js';

const call = 'IOMMU_IOAS_COPY';

/** A part of an area. */
interface Slice {
  readonly area: Area;
  readonly length: bigint;
  /** Where it starts in the source. */
  readonly source: bigint;
}

/** Checks in the order that decides the errno; then copies all or nothing. Returns the IOVA. */
export function copyRange(context: SoftContext, request: CopyRequest): bigint {
  const { flags, length, srcIova, dstIova } = request;
  checkRequest(flags, [length, srcIova, dstIova], call);
  const slices = slicesOf(findIoas(context, request.srcIoasId, call), srcIova, length);
  const ioas = findIoas(context, request.dstIoasId, call);
  const iova = place(ioas, { flags, iova: dstIova, length, source: slices[0]!.source }, call);
  for (const { area, source, length: bytes } of slices) {
    if ((flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0 && !area.isSourceWritable) {
      throw fail('EPERM', call, 'the memory was mapped read-only');
    }
    checkSource(ioas, source, bytes, call);
  }
  const areas: Area[] = [];
  let at = iova;
  for (const { area, source, length: bytes } of slices) {
    const pages = sharedPages(context, area);
    const account = request.account ?? area.account;
    const copy = createArea(ioas, at, bytes, source, flags & protectionMask, account, pages);
    pages.join(copy);
    areas.push(copy);
    at += bytes;
  }
  addAreas(context, areas, call);
  return iova;
}

/** @throws OsError `EINVAL`, `EOVERFLOW`, `ENOENT` when there is a gap */
function slicesOf(ioas: Ioas, iova: bigint, length: bigint): Slice[] {
  if (length === 0n) throw fail('EINVAL', call, 'length 0');
  const last = iova + length - 1n;
  if (last > u64Max) throw fail('EOVERFLOW', call, 'iova + length');
  const slices: Slice[] = [];
  for (let at = iova; at <= last; ) {
    const area = ioas.areas.firstMeeting(at, at);
    if (area === undefined) throw fail('ENOENT', call, 'a gap in the source range');
    const end = area.last < last ? area.last : last;
    const source = BigInt(area.sourceStart) + (at - area.start);
    slices.push({ area, length: end - at + 1n, source });
    at = end + 1n;
  }
  return slices;
}
