// linux/iommufd.h: request numbers of /dev/iommu.
import { vfioIoctl } from './ioctl-number.js';

/** The first number that is iommufd's; below it are the legacy container's. */
export const IOMMUFD_CMD_BASE = 0x80;

export const IOMMU_DESTROY = vfioIoctl(0x80);
export const IOMMU_IOAS_ALLOC = vfioIoctl(0x81);
export const IOMMU_IOAS_ALLOW_IOVAS = vfioIoctl(0x82);
export const IOMMU_IOAS_COPY = vfioIoctl(0x83);
export const IOMMU_IOAS_IOVA_RANGES = vfioIoctl(0x84);
export const IOMMU_IOAS_MAP = vfioIoctl(0x85);
export const IOMMU_IOAS_UNMAP = vfioIoctl(0x86);
export const IOMMU_OPTION = vfioIoctl(0x87);
export const IOMMU_VFIO_IOAS = vfioIoctl(0x88);
export const IOMMU_HWPT_ALLOC = vfioIoctl(0x89);
export const IOMMU_GET_HW_INFO = vfioIoctl(0x8a);
export const IOMMU_HWPT_SET_DIRTY_TRACKING = vfioIoctl(0x8b);
export const IOMMU_HWPT_GET_DIRTY_BITMAP = vfioIoctl(0x8c);
export const IOMMU_HWPT_INVALIDATE = vfioIoctl(0x8d);
export const IOMMU_FAULT_QUEUE_ALLOC = vfioIoctl(0x8e);
export const IOMMU_IOAS_MAP_FILE = vfioIoctl(0x8f);
export const IOMMU_VIOMMU_ALLOC = vfioIoctl(0x90);
export const IOMMU_VDEVICE_ALLOC = vfioIoctl(0x91);
export const IOMMU_IOAS_CHANGE_PROCESS = vfioIoctl(0x92);
export const IOMMU_VEVENTQ_ALLOC = vfioIoctl(0x93);
export const IOMMU_HW_QUEUE_ALLOC = vfioIoctl(0x94);
export const IOMMU_IOAS_NOIOMMU_GET_PA = vfioIoctl(0x95);
