// Address spaces of the kernel: each call as one ioctl.
import { OsError } from '../../base/errors.js';
import * as uapi from '../../uapi/iommufd.js';
import type {
  CopyRequest,
  IovaRange,
  IovaRangesResult,
  MapFileRequest,
  MapRequest,
  OptionRequest,
  UnmapRequest,
  VfioIoasRequest,
} from '../requests.js';
import type { KernelCalls } from './calls.js';

/** Ranges that a first question has room for; a device has a handful. */
const rangesAtFirst = 64;
const rangeBytes = uapi.iommuIovaRange.sizeBytes;

/** Of IOMMU_IOAS_IOVA_RANGES: also with EMSGSIZE there are ranges. */
export function iovaRanges(
  calls: KernelCalls,
  ioasId: number,
  rangesMax: number,
): IovaRangesResult {
  // Room for as many as somebody names would be memory for as many.
  let room = Math.min(rangesMax, rangesAtFirst);
  for (;;) {
    const result = askRanges(calls, ioasId, room);
    if (result.errno === undefined || room === rangesMax) return result;
    room = Math.min(rangesMax, result.rangeCount);
  }
}

function askRanges(calls: KernelCalls, ioasId: number, room: number): IovaRangesResult {
  const name = 'IOMMU_IOAS_IOVA_RANGES';
  const codec = uapi.iommuIoasIovaRanges;
  const list = new Uint8Array(room * rangeBytes);
  const { value, errno } = calls.tryCall(name, uapi.IOMMU_IOAS_IOVA_RANGES, codec, {
    size: codec.sizeBytes,
    ioas_id: ioasId,
    num_iovas: room,
    __reserved: 0,
    allowed_iovas: calls.lend(list),
    out_iova_alignment: 0n,
  });
  if (errno !== undefined && errno !== 'EMSGSIZE') throw new OsError(errno, name);
  const ranges = Array.from({ length: Math.min(room, value.num_iovas) }, (_, index) =>
    uapi.iommuIovaRange.decodeAt(list, index * rangeBytes),
  );
  return { ranges, rangeCount: value.num_iovas, alignment: value.out_iova_alignment, errno };
}

export function allowIovas(calls: KernelCalls, ioasId: number, ranges: Iterable<IovaRange>): void {
  const all = [...ranges];
  const list = new Uint8Array(all.length * rangeBytes);
  all.forEach((range, index) => {
    uapi.iommuIovaRange.encodeAt(range, list, index * rangeBytes);
  });
  const codec = uapi.iommuIoasAllowIovas;
  calls.call('IOMMU_IOAS_ALLOW_IOVAS', uapi.IOMMU_IOAS_ALLOW_IOVAS, codec, {
    size: codec.sizeBytes,
    ioas_id: ioasId,
    num_iovas: all.length,
    __reserved: 0,
    allowed_iovas: calls.lend(list),
  });
}

export function map(calls: KernelCalls, request: MapRequest): bigint {
  const codec = uapi.iommuIoasMap;
  return calls.call('IOMMU_IOAS_MAP', uapi.IOMMU_IOAS_MAP, codec, {
    size: codec.sizeBytes,
    flags: request.flags,
    ioas_id: request.ioasId,
    __reserved: 0,
    user_va: request.userVa,
    length: request.length,
    iova: request.iova,
  }).iova;
}

export function mapFile(calls: KernelCalls, request: MapFileRequest): bigint {
  const codec = uapi.iommuIoasMapFile;
  return calls.call('IOMMU_IOAS_MAP_FILE', uapi.IOMMU_IOAS_MAP_FILE, codec, {
    size: codec.sizeBytes,
    flags: request.flags,
    ioas_id: request.ioasId,
    fd: request.fd.number,
    start: request.start,
    length: request.length,
    iova: request.iova,
  }).iova;
}

export function copy(calls: KernelCalls, request: CopyRequest): bigint {
  const codec = uapi.iommuIoasCopy;
  return calls.call('IOMMU_IOAS_COPY', uapi.IOMMU_IOAS_COPY, codec, {
    size: codec.sizeBytes,
    flags: request.flags,
    dst_ioas_id: request.dstIoasId,
    src_ioas_id: request.srcIoasId,
    length: request.length,
    dst_iova: request.dstIova,
    src_iova: request.srcIova,
  }).dst_iova;
}

export function unmap(calls: KernelCalls, { ioasId, iova, length }: UnmapRequest): bigint {
  const codec = uapi.iommuIoasUnmap;
  const value = { size: codec.sizeBytes, ioas_id: ioasId, iova, length };
  return calls.call('IOMMU_IOAS_UNMAP', uapi.IOMMU_IOAS_UNMAP, codec, value).length;
}

export function option(calls: KernelCalls, request: OptionRequest): bigint {
  const codec = uapi.iommuOption;
  return calls.call('IOMMU_OPTION', uapi.IOMMU_OPTION, codec, {
    size: codec.sizeBytes,
    option_id: request.optionId,
    op: request.op,
    __reserved: 0,
    object_id: request.objectId,
    val64: request.value,
  }).val64;
}

export function vfioIoas(calls: KernelCalls, { op, ioasId }: VfioIoasRequest): number {
  const codec = uapi.iommuVfioIoas;
  const value = { size: codec.sizeBytes, ioas_id: ioasId, op, __reserved: 0 };
  return calls.call('IOMMU_VFIO_IOAS', uapi.IOMMU_VFIO_IOAS, codec, value).ioas_id;
}
