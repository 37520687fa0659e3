// IOMMU_HWPT_SET_DIRTY_TRACKING and IOMMU_HWPT_GET_DIRTY_BITMAP.
// @see linux drivers/iommu/iommufd/io_pagetable.c iopt_read_and_clear_dirty_data
import {
  IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
  IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
} from '../../uapi/iommufd-hwpt.js';
import { type DirtyBitmapRequest, type SetDirtyTrackingRequest, u64Max } from '../requests.js';
import { releaseWhenSettled, type SoftContext } from './context.js';
import type { Hwpt } from './hwpt.js';
import { type Ioas, minimum } from './ioas.js';
import { fail } from './objects.js';
import { bitsOf } from './user-bits.js';

const setCall = 'IOMMU_HWPT_SET_DIRTY_TRACKING';
const getCall = 'IOMMU_HWPT_GET_DIRTY_BITMAP';

/** What was written before counts as clean. A device may write untracked until `settled`. */
export function setDirtyTracking(context: SoftContext, request: SetDirtyTrackingRequest): void {
  const { flags, hwptId } = request;
  if ((flags & ~IOMMU_HWPT_DIRTY_TRACKING_ENABLE) !== 0) {
    throw fail('EOPNOTSUPP', setCall, `flags ${flags}`);
  }
  const hwpt = findPaging(context, hwptId, setCall);
  if (!hwpt.format.hasDirtyTracking) throw fail('EOPNOTSUPP', setCall, 'no dirty tracking');
  hwpt.setTracking((flags & IOMMU_HWPT_DIRTY_TRACKING_ENABLE) !== 0);
  releaseWhenSettled(context, [], []);
}

/**
 * Sets bits for what devices wrote, in the areas that follow each other without a hole from the
 * first address on. What is reported is clean afterwards, but for a write that the device began
 * before `settled`: whoever copies the memory waits for that.
 */
export function getDirtyBitmap(context: SoftContext, request: DirtyBitmapRequest): void {
  const { flags, hwptId, iova, length, pageSize } = request;
  if ((flags & ~IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR) !== 0) {
    throw fail('EOPNOTSUPP', getCall, `flags ${flags}`);
  }
  const hwpt = findPaging(context, hwptId, getCall);
  checkRange(hwpt.ioas, iova, length, pageSize);
  if (!hwpt.format.hasDirtyTracking) throw fail('EOPNOTSUPP', getCall, 'no dirty tracking');
  const isClearing = (flags & IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR) === 0;
  const bits = bitsOf(request.bitmap);
  const pageShift = trailingZeros(pageSize);
  const last = iova + length - 1n;
  for (let at = iova; ; ) {
    const area = hwpt.ioas.areas.firstMeeting(at, at);
    if (area === undefined) break;
    const areaLast = minimum(area.last, last);
    hwpt.visitDirty(Number(at), Number(areaLast) + 1, isClearing, (start, end) => {
      const firstBit = (BigInt(start) - iova) >> pageShift;
      const lastBit = (BigInt(end - 1) - iova) >> pageShift;
      bits.set(firstBit, lastBit - firstBit + 1n);
    });
    if (area.last >= last) break;
    at = area.last + 1n;
  }
  if (isClearing) releaseWhenSettled(context, [], []);
}

function findPaging(context: SoftContext, id: number, call: string): Hwpt {
  const hwpt = context.objects.get(id);
  if (hwpt?.kind !== 'hwpt') throw fail('ENOENT', call, `hwpt ${id}`);
  return hwpt;
}

/** @throws OsError `EINVAL`, `EOVERFLOW` */
function checkRange(ioas: Ioas, iova: bigint, length: bigint, pageSize: bigint): void {
  if (length === 0n) throw fail('EINVAL', getCall, 'length 0');
  const last = iova + length - 1n;
  if (last > u64Max) throw fail('EOVERFLOW', getCall, 'iova + length');
  const ends = iova | (last + 1n);
  if ((ends & ioas.alignmentMask) !== 0n) throw fail('EINVAL', getCall, 'unaligned range');
  if (pageSize === 0n) throw fail('EINVAL', getCall, 'page size 0');
  if ((ends & (pageSize - 1n)) !== 0n) throw fail('EINVAL', getCall, 'range cuts a page');
}

/** Which power of two divides it; a page size that is none counts as the largest in it. */
function trailingZeros(value: bigint): bigint {
  return BigInt((value & -value).toString(2).length - 1);
}
