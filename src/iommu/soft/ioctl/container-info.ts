// VFIO_IOMMU_GET_INFO: a structure, and behind it as much of a chain of capabilities as fits.
import {
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_PGSIZES,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  vfioInfoCapHeader,
  vfioIommuType1Info,
  vfioIommuType1InfoCapIovaRange,
  vfioIommuType1InfoDmaAvail,
  vfioIovaRange,
} from '../../../uapi/vfio.js';
import type { ContainerInfo, IovaRange } from '../../requests.js';
import { readArgsz } from './argsz-struct.js';
import type { UserArgument } from './user-argument.js';

const info = vfioIommuType1Info;
const rangeBytes = vfioIovaRange.sizeBytes;
const availBytes = vfioIommuType1InfoDmaAvail.sizeBytes;
const rangesBytes = vfioIommuType1InfoCapIovaRange.sizeBytes;
/** Capabilities begin at multiples of 8. */
const availAt = info.sizeBytes;
const rangesAt = availAt + Math.ceil(availBytes / 8) * 8;

/**
 * Writes what there is room for. A range is written although the header before it has no room: so
 * Linux does.
 *
 * @param read - Asked once the request is known to be right. @throws OsError `EFAULT`, `EINVAL`
 */
export function writeContainerInfo(argument: UserArgument, read: () => ContainerInfo): void {
  const { argsz } = readArgsz(argument, info, info.offsets.cap_offset!);
  const { pageSizes, iovaRanges, mapsAvailable } = read();
  if (argsz - availAt >= availBytes) {
    const header = { id: VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, version: 1, next: 0 };
    const avail = vfioIommuType1InfoDmaAvail.encode({ header, avail: mapsAvailable });
    argument.write(availAt, avail);
  }
  writeRanges(argument, argsz - rangesAt, iovaRanges);
  if (argsz >= rangesAt) {
    const next = new Uint8Array(4);
    new DataView(next.buffer).setUint32(0, rangesAt, true);
    argument.write(availAt + vfioInfoCapHeader.offsets.next!, next);
  }
  const neededBytes = rangesAt + rangesBytes + iovaRanges.length * rangeBytes;
  const whole = info.encode({
    argsz: neededBytes,
    flags: VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS,
    iova_pgsizes: pageSizes,
    cap_offset: argsz >= neededBytes ? availAt : 0,
    pad: 0,
  });
  argument.write(0, whole.subarray(0, argsz));
}

function writeRanges(argument: UserArgument, room: number, ranges: readonly IovaRange[]): void {
  let endBytes = rangesBytes;
  for (const { start, last } of ranges) {
    const at = endBytes;
    endBytes += rangeBytes;
    if (room >= endBytes) argument.write(rangesAt + at, vfioIovaRange.encode({ start, end: last }));
  }
  if (room < endBytes) return;
  const header = { id: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, version: 1, next: 0 };
  const nr_iovas = ranges.length;
  const head = vfioIommuType1InfoCapIovaRange.encode({ header, nr_iovas, reserved: 0 });
  argument.write(rangesAt, head);
}
