// Requests below those of iommufd: the container that it replaced, over the IOAS of VFIO_IOAS.
import {
  VFIO_CHECK_EXTENSION,
  VFIO_GET_API_VERSION,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
  vfioIommuType1DmaMap,
  vfioIommuType1DmaUnmap,
} from '../../../uapi/vfio.js';
import { u64Max } from '../../requests.js';
import { fail } from '../objects.js';
import { readArgsz } from './argsz-struct.js';
import type { Caller } from './caller.js';
import { writeContainerInfo } from './container-info.js';
import type { UserArgument } from './user-argument.js';

/** @returns What the request gives. @throws OsError `ENOTTY` for one that is not known, and more */
export function runContainerCall(caller: Caller, request: number, argument: UserArgument): number {
  const { iommufd } = caller;
  switch (request) {
    case VFIO_GET_API_VERSION:
      return iommufd.apiVersion();
    case VFIO_CHECK_EXTENSION:
      return iommufd.checkExtension(byValue(argument));
    case VFIO_SET_IOMMU:
      iommufd.setIommu(byValue(argument));
      return 0;
    case VFIO_IOMMU_GET_INFO:
      writeContainerInfo(argument, () => iommufd.containerInfo());
      return 0;
    case VFIO_IOMMU_MAP_DMA:
      mapDma(caller, argument);
      return 0;
    case VFIO_IOMMU_UNMAP_DMA:
      unmapDma(caller, argument);
      return 0;
    default:
      throw fail('ENOTTY', 'ioctl', `0x${request.toString(16)}`);
  }
}

/** Bytes lie at an address, which is none of the numbers that a call by value knows. */
function byValue({ value }: UserArgument): number {
  return Number(value ?? u64Max);
}

function mapDma({ iommufd }: Caller, argument: UserArgument): void {
  const struct = vfioIommuType1DmaMap;
  const { flags, vaddr, iova, size } = readArgsz(argument, struct, struct.sizeBytes);
  iommufd.mapDma({ flags, vaddr, iova, size });
}

function unmapDma({ iommufd }: Caller, argument: UserArgument): void {
  const struct = vfioIommuType1DmaUnmap;
  const fields = readArgsz(argument, struct, struct.sizeBytes);
  const { flags, iova, size } = fields;
  const removed = iommufd.unmapDma({ flags, iova, size });
  argument.write(0, struct.encode({ ...fields, size: removed.size }));
  if (removed.errno !== undefined) throw fail(removed.errno, 'VFIO_IOMMU_UNMAP_DMA', 'removal');
}
