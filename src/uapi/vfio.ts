// linux/vfio.h: constants and structs that info, interrupt and capability handling need.
import { reserved, s32, struct, u16, u32, u64, u64Number } from './struct.js';

/** `_IO(';', number)`: no direction, no size. */
export function vfioIoctl(number: number): number {
  return (0x3b << 8) | number;
}

export const VFIO_DEVICE_GET_INFO = vfioIoctl(107);
export const VFIO_DEVICE_GET_REGION_INFO = vfioIoctl(108);
export const VFIO_DEVICE_GET_IRQ_INFO = vfioIoctl(109);
export const VFIO_DEVICE_SET_IRQS = vfioIoctl(110);
export const VFIO_DEVICE_RESET = vfioIoctl(111);
export const VFIO_DEVICE_FEATURE = vfioIoctl(117);
export const VFIO_DEVICE_BIND_IOMMUFD = vfioIoctl(118);
export const VFIO_DEVICE_ATTACH_IOMMUFD_PT = vfioIoctl(119);
export const VFIO_DEVICE_DETACH_IOMMUFD_PT = vfioIoctl(120);

export const VFIO_DEVICE_FLAGS_RESET = 0x1;
export const VFIO_DEVICE_FLAGS_PCI = 0x2;
export const VFIO_DEVICE_FLAGS_CAPS = 0x80;

export const VFIO_REGION_INFO_FLAG_READ = 0x1;
export const VFIO_REGION_INFO_FLAG_WRITE = 0x2;
export const VFIO_REGION_INFO_FLAG_MMAP = 0x4;
export const VFIO_REGION_INFO_FLAG_CAPS = 0x8;

export const VFIO_REGION_INFO_CAP_SPARSE_MMAP = 1;
export const VFIO_REGION_INFO_CAP_TYPE = 2;
export const VFIO_REGION_INFO_CAP_MSIX_MAPPABLE = 3;

export const VFIO_PCI_BAR0_REGION_INDEX = 0;
export const VFIO_PCI_BAR5_REGION_INDEX = 5;
export const VFIO_PCI_ROM_REGION_INDEX = 6;
export const VFIO_PCI_CONFIG_REGION_INDEX = 7;
export const VFIO_PCI_VGA_REGION_INDEX = 8;
export const VFIO_PCI_NUM_REGIONS = 9;

export const VFIO_PCI_INTX_IRQ_INDEX = 0;
export const VFIO_PCI_MSI_IRQ_INDEX = 1;
export const VFIO_PCI_MSIX_IRQ_INDEX = 2;
export const VFIO_PCI_ERR_IRQ_INDEX = 3;
export const VFIO_PCI_REQ_IRQ_INDEX = 4;
export const VFIO_PCI_NUM_IRQS = 5;

export const VFIO_IRQ_INFO_EVENTFD = 0x1;
export const VFIO_IRQ_INFO_MASKABLE = 0x2;
export const VFIO_IRQ_INFO_AUTOMASKED = 0x4;
export const VFIO_IRQ_INFO_NORESIZE = 0x8;

export const VFIO_IRQ_SET_DATA_NONE = 0x1;
export const VFIO_IRQ_SET_DATA_BOOL = 0x2;
export const VFIO_IRQ_SET_DATA_EVENTFD = 0x4;
export const VFIO_IRQ_SET_DATA_TYPE_MASK = 0x7;
export const VFIO_IRQ_SET_ACTION_MASK = 0x8;
export const VFIO_IRQ_SET_ACTION_UNMASK = 0x10;
export const VFIO_IRQ_SET_ACTION_TRIGGER = 0x20;
export const VFIO_IRQ_SET_ACTION_TYPE_MASK = 0x38;

export const VFIO_DEVICE_FEATURE_MASK = 0xffff;
export const VFIO_DEVICE_FEATURE_GET = 0x10000;
export const VFIO_DEVICE_FEATURE_SET = 0x20000;
export const VFIO_DEVICE_FEATURE_PROBE = 0x40000;

export const VFIO_DEVICE_FEATURE_MIGRATION = 1;
export const VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE = 2;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_START = 6;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP = 7;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT = 8;

export const VFIO_MIGRATION_STOP_COPY = 0x1;
export const VFIO_MIGRATION_P2P = 0x2;
export const VFIO_MIGRATION_PRE_COPY = 0x4;

export const VFIO_DEVICE_STATE_ERROR = 0;
export const VFIO_DEVICE_STATE_STOP = 1;
export const VFIO_DEVICE_STATE_RUNNING = 2;
export const VFIO_DEVICE_STATE_STOP_COPY = 3;
export const VFIO_DEVICE_STATE_RESUMING = 4;
export const VFIO_DEVICE_STATE_RUNNING_P2P = 5;
export const VFIO_DEVICE_STATE_PRE_COPY = 6;
export const VFIO_DEVICE_STATE_PRE_COPY_P2P = 7;

export const vfioDeviceInfo = struct('vfio_device_info', 24, {
  argsz: u32,
  flags: u32,
  num_regions: u32,
  num_irqs: u32,
  cap_offset: u32,
  pad: u32,
});

/** `next` is a byte offset from the start of the info struct; 0 ends the chain. */
export const vfioInfoCapHeader = struct('vfio_info_cap_header', 8, {
  id: u16,
  version: u16,
  next: u32,
});

export const vfioRegionInfo = struct('vfio_region_info', 32, {
  argsz: u32,
  flags: u32,
  index: u32,
  cap_offset: u32,
  size: u64,
  offset: u64,
});

export const vfioRegionSparseMmapArea = struct('vfio_region_sparse_mmap_area', 16, {
  offset: u64Number,
  size: u64Number,
});

/** Follows the capability header of a sparse-mmap capability; `nr_areas` areas follow. */
export const vfioSparseMmapCount = struct('vfio_region_info_cap_sparse_mmap', 8, {
  nr_areas: u32,
  reserved: reserved(4),
});

/** The whole capability, its header included. */
export const vfioRegionType = struct('vfio_region_info_cap_type', 16, {
  id: u16,
  version: u16,
  next: u32,
  type: u32,
  subtype: u32,
});

export const vfioIrqInfo = struct('vfio_irq_info', 16, {
  argsz: u32,
  flags: u32,
  index: u32,
  count: u32,
});

export const vfioIrqSet = struct('vfio_irq_set', 20, {
  argsz: u32,
  flags: u32,
  index: u32,
  start: u32,
  count: u32,
});

export const vfioDeviceBindIommufd = struct('vfio_device_bind_iommufd', 24, {
  argsz: u32,
  flags: u32,
  iommufd: s32,
  out_devid: u32,
  token_uuid_ptr: u64,
});

export const vfioDeviceAttachIommufdPt = struct('vfio_device_attach_iommufd_pt', 16, {
  argsz: u32,
  flags: u32,
  pt_id: u32,
  pasid: u32,
});

export const vfioDeviceDetachIommufdPt = struct('vfio_device_detach_iommufd_pt', 12, {
  argsz: u32,
  flags: u32,
  pasid: u32,
});
