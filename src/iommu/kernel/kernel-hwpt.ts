// Page tables of the kernel's devices, what it says of its IOMMU, and dirty pages.
import * as uapi from '../../uapi/iommufd.js';
import type {
  DirtyBitmapRequest,
  HwInfo,
  HwInfoRequest,
  HwptAllocRequest,
  HwptInvalidateRequest,
  HwptInvalidateResult,
  SetDirtyTrackingRequest,
  UserBytes,
} from '../requests.js';
import type { KernelCalls } from './calls.js';
import { bitmapBytes, mergeBits } from './dirty-bits.js';

/** No type of IOMMU has more to say; the kernel clears all room that it is given. */
const hwInfoBytesMax = 4096;

/** The kernel reads them itself: all of them at once. */
function wholeOf(data: Uint8Array | UserBytes | undefined): Uint8Array | undefined {
  if (data === undefined || data instanceof Uint8Array) return data;
  return data.slice(0, data.length);
}

export function hwptAlloc(calls: KernelCalls, request: HwptAllocRequest): number {
  const data = wholeOf(request.data);
  const codec = uapi.iommuHwptAlloc;
  return calls.call('IOMMU_HWPT_ALLOC', uapi.IOMMU_HWPT_ALLOC, codec, {
    size: codec.sizeBytes,
    flags: request.flags,
    dev_id: request.devId,
    pt_id: request.ptId,
    out_hwpt_id: 0,
    __reserved: 0,
    data_type: request.dataType ?? uapi.IOMMU_HWPT_DATA_NONE,
    data_len: data?.length ?? 0,
    data_uptr: calls.lend(data),
    fault_id: request.faultId ?? 0,
    __reserved2: 0,
  }).out_hwpt_id;
}

export function hwInfo(calls: KernelCalls, request: HwInfoRequest): HwInfo {
  const room = new Uint8Array(Math.min(request.dataLenMax, hwInfoBytesMax));
  const codec = uapi.iommuHwInfo;
  const answer = calls.call('IOMMU_GET_HW_INFO', uapi.IOMMU_GET_HW_INFO, codec, {
    size: codec.sizeBytes,
    flags: request.flags,
    dev_id: request.devId,
    data_len: room.length,
    data_uptr: calls.lend(room),
    data_type: request.dataType,
    out_max_pasid_log2: 0,
    __reserved: [0, 0, 0],
    out_capabilities: 0n,
  });
  return {
    dataType: answer.data_type,
    dataLen: answer.data_len,
    data: room.subarray(0, Math.min(room.length, answer.data_len)),
    maxPasidLog2: answer.out_max_pasid_log2,
    capabilities: answer.out_capabilities,
  };
}

export function hwptInvalidate(
  calls: KernelCalls,
  request: HwptInvalidateRequest,
): HwptInvalidateResult {
  const codec = uapi.iommuHwptInvalidate;
  const name = 'IOMMU_HWPT_INVALIDATE';
  const data = wholeOf(request.data);
  // It would read on behind them.
  if (data !== undefined && data.length < request.entryLen * request.entryNum) {
    return { handledCount: 0, errno: 'EFAULT' };
  }
  const { value, errno } = calls.tryCall(name, uapi.IOMMU_HWPT_INVALIDATE, codec, {
    size: codec.sizeBytes,
    hwpt_id: request.hwptId,
    data_uptr: calls.lend(data),
    data_type: request.dataType,
    entry_len: request.entryLen,
    entry_num: request.entryNum,
    __reserved: 0,
  });
  // Refused before the kernel came to write how many: the structure is as it was given.
  const isSilent = errno !== undefined && value.entry_num === request.entryNum;
  return { handledCount: isSilent ? 0 : value.entry_num, errno };
}

export function setDirtyTracking(
  calls: KernelCalls,
  { flags, hwptId }: SetDirtyTrackingRequest,
): void {
  const codec = uapi.iommuHwptSetDirtyTracking;
  const value = { size: codec.sizeBytes, flags, hwpt_id: hwptId, __reserved: 0 };
  const request = uapi.IOMMU_HWPT_SET_DIRTY_TRACKING;
  calls.call('IOMMU_HWPT_SET_DIRTY_TRACKING', request, codec, value);
}

export function getDirtyBitmap(calls: KernelCalls, request: DirtyBitmapRequest): void {
  const name = 'IOMMU_HWPT_GET_DIRTY_BITMAP';
  // The kernel writes in whole words, and as far as the numbers say: into memory of this call.
  const found = new Uint8Array(bitmapBytes(request, name));
  const codec = uapi.iommuHwptGetDirtyBitmap;
  calls.call(name, uapi.IOMMU_HWPT_GET_DIRTY_BITMAP, codec, {
    size: codec.sizeBytes,
    hwpt_id: request.hwptId,
    flags: request.flags,
    __reserved: 0,
    iova: request.iova,
    length: request.length,
    page_size: request.pageSize,
    data: calls.lend(found),
  });
  mergeBits(found, request.bitmap);
}
