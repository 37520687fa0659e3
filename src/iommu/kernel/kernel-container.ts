// Calls of the legacy container, which an iommufd answers over its compatibility IOAS.
import { OsError } from '../../base/errors.js';
import * as uapi from '../../uapi/vfio.js';
import type {
  ContainerInfo,
  DmaMapRequest,
  DmaUnmapRequest,
  DmaUnmapResult,
  IovaRange,
} from '../requests.js';
import type { KernelCalls } from './calls.js';

const infoName = 'VFIO_IOMMU_GET_INFO';
const headerBytes = uapi.vfioIommuType1Info.sizeBytes;
/** More of them is a loop. */
const capsMax = 32;
/** Room for more address ranges than any IOMMU has. */
const infoBytesMax = 1024 * 1024;

export function mapDma(calls: KernelCalls, request: DmaMapRequest): void {
  const codec = uapi.vfioIommuType1DmaMap;
  const { flags, vaddr, iova, size } = request;
  const value = { argsz: codec.sizeBytes, flags, vaddr, iova, size };
  calls.call('VFIO_IOMMU_MAP_DMA', uapi.VFIO_IOMMU_MAP_DMA, codec, value);
}

export function unmapDma(calls: KernelCalls, request: DmaUnmapRequest): DmaUnmapResult {
  const name = 'VFIO_IOMMU_UNMAP_DMA';
  const codec = uapi.vfioIommuType1DmaUnmap;
  const sent = { argsz: codec.sizeBytes, ...request };
  const { value, errno } = calls.tryCall(name, uapi.VFIO_IOMMU_UNMAP_DMA, codec, sent);
  if (errno === undefined) return { size: value.size, errno };
  // What was not written back reports nothing; a size of 0 would come back as 0.
  const isEmpty = sent.flags === 0 && sent.size === 0n && errno === 'EINVAL';
  if (value.size === sent.size && !isEmpty) throw new OsError(errno, name);
  return { size: value.size, errno };
}

/** Asks with room for the capabilities that a question without room counted. */
export function containerInfo(calls: KernelCalls): ContainerInfo {
  let bytes = askInfo(calls, headerBytes);
  const first = uapi.vfioIommuType1Info.decodeAt(bytes, 0);
  if (first.argsz > infoBytesMax) {
    throw new OsError('E2BIG', infoName, `${first.argsz} bytes`);
  }
  if (first.argsz > headerBytes) bytes = askInfo(calls, first.argsz);
  const info = uapi.vfioIommuType1Info.decodeAt(bytes, 0);
  const iovaRanges: IovaRange[] = [];
  let mapsAvailable = 0xffff_ffff;
  let at = info.cap_offset;
  for (let count = 0; at !== 0 && count < capsMax; count++) {
    const { id, next } = uapi.vfioInfoCapHeader.decodeAt(bytes, at);
    if (id === uapi.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) iovaRanges.push(...rangesOf(bytes, at));
    if (id === uapi.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) {
      mapsAvailable = uapi.vfioIommuType1InfoDmaAvail.decodeAt(bytes, at).avail;
    }
    at = next;
  }
  return { pageSizes: info.iova_pgsizes, iovaRanges, mapsAvailable };
}

function askInfo(calls: KernelCalls, argsz: number): Uint8Array {
  const bytes = new Uint8Array(argsz);
  const value = { argsz, flags: 0, iova_pgsizes: 0n, cap_offset: 0, pad: 0 };
  uapi.vfioIommuType1Info.encodeAt(value, bytes, 0);
  calls.send(infoName, uapi.VFIO_IOMMU_GET_INFO, bytes);
  return bytes;
}

function rangesOf(bytes: Uint8Array, at: number): IovaRange[] {
  const codec = uapi.vfioIommuType1InfoCapIovaRange;
  const { nr_iovas } = codec.decodeAt(bytes, at);
  const listAt = at + codec.sizeBytes;
  const ranges: IovaRange[] = [];
  // The first that does not fit is refused, however many there are said to be.
  for (let index = 0; index < nr_iovas; index++) {
    const rangeAt = listAt + index * uapi.vfioIovaRange.sizeBytes;
    const { start, end } = uapi.vfioIovaRange.decodeAt(bytes, rangeAt);
    ranges.push({ start, last: end });
  }
  return ranges;
}
