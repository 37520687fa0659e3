// The calls of /dev/iommu as its entry sees them: number, struct, and how little of it will do.
import * as fault from './iommufd-fault.js';
import * as hwInfo from './iommufd-hw-info.js';
import * as hwpt from './iommufd-hwpt.js';
import * as ioas from './iommufd-ioas.js';
import * as request from './iommufd-requests.js';
import * as viommu from './iommufd-viommu.js';
import type { Struct } from './struct.js';

/** What is the same for every call. */
export interface IommufdCommand {
  readonly request: number;
  readonly struct: Pick<Struct<unknown>, 'name' | 'sizeBytes' | 'offsets'>;
  /** A struct whose `size` is less is refused; what is missing behind it reads as 0. */
  readonly leastBytes: number;
}

function command(
  request: number,
  struct: IommufdCommand['struct'],
  leastBytes = struct.sizeBytes,
): IommufdCommand {
  return { request, struct, leastBytes };
}

/** In the order of their numbers. The older calls grew; the kernel knows their first shape. */
export const iommufdCommands: readonly IommufdCommand[] = [
  command(request.IOMMU_DESTROY, ioas.iommuDestroy),
  command(request.IOMMU_IOAS_ALLOC, ioas.iommuIoasAlloc),
  command(request.IOMMU_IOAS_ALLOW_IOVAS, ioas.iommuIoasAllowIovas),
  command(request.IOMMU_IOAS_COPY, ioas.iommuIoasCopy),
  command(request.IOMMU_IOAS_IOVA_RANGES, ioas.iommuIoasIovaRanges),
  command(request.IOMMU_IOAS_MAP, ioas.iommuIoasMap),
  command(request.IOMMU_IOAS_UNMAP, ioas.iommuIoasUnmap),
  command(request.IOMMU_OPTION, ioas.iommuOption),
  command(request.IOMMU_VFIO_IOAS, ioas.iommuVfioIoas),
  command(request.IOMMU_HWPT_ALLOC, hwpt.iommuHwptAlloc, 24),
  command(request.IOMMU_GET_HW_INFO, hwInfo.iommuHwInfo, 32),
  command(request.IOMMU_HWPT_SET_DIRTY_TRACKING, hwpt.iommuHwptSetDirtyTracking),
  command(request.IOMMU_HWPT_GET_DIRTY_BITMAP, hwpt.iommuHwptGetDirtyBitmap),
  command(request.IOMMU_HWPT_INVALIDATE, hwpt.iommuHwptInvalidate),
  command(request.IOMMU_FAULT_QUEUE_ALLOC, fault.iommuFaultAlloc),
  command(request.IOMMU_IOAS_MAP_FILE, ioas.iommuIoasMapFile),
  command(request.IOMMU_VIOMMU_ALLOC, viommu.iommuViommuAlloc, 24),
  command(request.IOMMU_VDEVICE_ALLOC, viommu.iommuVdeviceAlloc),
  command(request.IOMMU_IOAS_CHANGE_PROCESS, ioas.iommuIoasChangeProcess),
  command(request.IOMMU_VEVENTQ_ALLOC, viommu.iommuVeventqAlloc, 28),
  command(request.IOMMU_HW_QUEUE_ALLOC, viommu.iommuHwQueueAlloc),
  command(request.IOMMU_IOAS_NOIOMMU_GET_PA, ioas.iommuIoasNoiommuGetPa),
];
