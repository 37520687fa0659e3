// linux/vfio.h: request numbers. What one means depends on the descriptor: container, group,
// device or migration file.
import { vfioIoctl } from './ioctl-number.js';

// The container, and iommufd in its place.
export const VFIO_GET_API_VERSION = vfioIoctl(100);
export const VFIO_CHECK_EXTENSION = vfioIoctl(101);
export const VFIO_SET_IOMMU = vfioIoctl(102);
export const VFIO_IOMMU_GET_INFO = vfioIoctl(112);
export const VFIO_IOMMU_MAP_DMA = vfioIoctl(113);
export const VFIO_IOMMU_UNMAP_DMA = vfioIoctl(114);
export const VFIO_IOMMU_ENABLE = vfioIoctl(115);
export const VFIO_IOMMU_DISABLE = vfioIoctl(116);
export const VFIO_IOMMU_DIRTY_PAGES = vfioIoctl(117);

// A group.
export const VFIO_GROUP_GET_STATUS = vfioIoctl(103);
export const VFIO_GROUP_SET_CONTAINER = vfioIoctl(104);
export const VFIO_GROUP_UNSET_CONTAINER = vfioIoctl(105);
export const VFIO_GROUP_GET_DEVICE_FD = vfioIoctl(106);

// A device.
export const VFIO_DEVICE_GET_INFO = vfioIoctl(107);
export const VFIO_DEVICE_GET_REGION_INFO = vfioIoctl(108);
export const VFIO_DEVICE_GET_IRQ_INFO = vfioIoctl(109);
export const VFIO_DEVICE_SET_IRQS = vfioIoctl(110);
export const VFIO_DEVICE_RESET = vfioIoctl(111);
export const VFIO_DEVICE_GET_PCI_HOT_RESET_INFO = vfioIoctl(112);
export const VFIO_DEVICE_PCI_HOT_RESET = vfioIoctl(113);
export const VFIO_DEVICE_QUERY_GFX_PLANE = vfioIoctl(114);
export const VFIO_DEVICE_GET_GFX_DMABUF = vfioIoctl(115);
export const VFIO_DEVICE_IOEVENTFD = vfioIoctl(116);
export const VFIO_DEVICE_FEATURE = vfioIoctl(117);

// A device opened by its character device.
export const VFIO_DEVICE_BIND_IOMMUFD = vfioIoctl(118);
export const VFIO_DEVICE_ATTACH_IOMMUFD_PT = vfioIoctl(119);
export const VFIO_DEVICE_DETACH_IOMMUFD_PT = vfioIoctl(120);

// The file of a migration.
export const VFIO_MIG_GET_PRECOPY_INFO = vfioIoctl(121);
