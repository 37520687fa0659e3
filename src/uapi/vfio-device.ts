// linux/vfio.h: what a device is, its regions, and opening it by group or character device.
import { reserved, s32, struct, u16, u32, u64, u64Number } from './struct.js';

export const VFIO_DEVICE_FLAGS_RESET = 0x1;
export const VFIO_DEVICE_FLAGS_PCI = 0x2;
export const VFIO_DEVICE_FLAGS_PLATFORM = 0x4;
export const VFIO_DEVICE_FLAGS_AMBA = 0x8;
export const VFIO_DEVICE_FLAGS_CCW = 0x10;
export const VFIO_DEVICE_FLAGS_AP = 0x20;
export const VFIO_DEVICE_FLAGS_FSL_MC = 0x40;
export const VFIO_DEVICE_FLAGS_CAPS = 0x80;
export const VFIO_DEVICE_FLAGS_CDX = 0x100;

export const VFIO_DEVICE_INFO_CAP_ZPCI_BASE = 1;
export const VFIO_DEVICE_INFO_CAP_ZPCI_GROUP = 2;
export const VFIO_DEVICE_INFO_CAP_ZPCI_UTIL = 3;
export const VFIO_DEVICE_INFO_CAP_ZPCI_PFIP = 4;
export const VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP = 5;

export const VFIO_PCI_ATOMIC_COMP32 = 0x1;
export const VFIO_PCI_ATOMIC_COMP64 = 0x2;
export const VFIO_PCI_ATOMIC_COMP128 = 0x4;

export const VFIO_REGION_INFO_FLAG_READ = 0x1;
export const VFIO_REGION_INFO_FLAG_WRITE = 0x2;
export const VFIO_REGION_INFO_FLAG_MMAP = 0x4;
export const VFIO_REGION_INFO_FLAG_CAPS = 0x8;

export const VFIO_REGION_INFO_CAP_SPARSE_MMAP = 1;
export const VFIO_REGION_INFO_CAP_TYPE = 2;
export const VFIO_REGION_INFO_CAP_MSIX_MAPPABLE = 3;
export const VFIO_REGION_INFO_CAP_NVLINK2_SSATGT = 4;
export const VFIO_REGION_INFO_CAP_NVLINK2_LNKSPD = 5;

export const VFIO_REGION_TYPE_PCI_VENDOR_TYPE = 0x8000_0000;
export const VFIO_REGION_TYPE_PCI_VENDOR_MASK = 0xffff;

export const VFIO_PCI_BAR0_REGION_INDEX = 0;
export const VFIO_PCI_BAR1_REGION_INDEX = 1;
export const VFIO_PCI_BAR2_REGION_INDEX = 2;
export const VFIO_PCI_BAR3_REGION_INDEX = 3;
export const VFIO_PCI_BAR4_REGION_INDEX = 4;
export const VFIO_PCI_BAR5_REGION_INDEX = 5;
export const VFIO_PCI_ROM_REGION_INDEX = 6;
export const VFIO_PCI_CONFIG_REGION_INDEX = 7;
export const VFIO_PCI_VGA_REGION_INDEX = 8;
export const VFIO_PCI_NUM_REGIONS = 9;

export const VFIO_GROUP_FLAGS_VIABLE = 0x1;
export const VFIO_GROUP_FLAGS_CONTAINER_SET = 0x2;

export const VFIO_DEVICE_BIND_FLAG_TOKEN = 0x1;
export const VFIO_DEVICE_ATTACH_PASID = 0x1;
export const VFIO_DEVICE_DETACH_PASID = 0x1;

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

export const vfioDeviceInfoCapPciAtomicComp = struct('vfio_device_info_cap_pci_atomic_comp', 16, {
  header: vfioInfoCapHeader,
  flags: u32,
  reserved: u32,
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

/** `nr_areas` areas follow. */
export const vfioRegionInfoCapSparseMmap = struct('vfio_region_info_cap_sparse_mmap', 16, {
  header: vfioInfoCapHeader,
  nr_areas: u32,
  reserved: reserved(4),
});

export const vfioRegionInfoCapType = struct('vfio_region_info_cap_type', 16, {
  header: vfioInfoCapHeader,
  type: u32,
  subtype: u32,
});

export const vfioGroupStatus = struct('vfio_group_status', 8, { argsz: u32, flags: u32 });

/** `token_uuid_ptr` counts only with BIND_FLAG_TOKEN; without it the struct may end before it. */
export const vfioDeviceBindIommufd = struct('vfio_device_bind_iommufd', 24, {
  argsz: u32,
  flags: u32,
  iommufd: s32,
  out_devid: u32,
  token_uuid_ptr: u64,
});

/** `pasid` counts only with ATTACH_PASID; without it the struct may end before it. */
export const vfioDeviceAttachIommufdPt = struct('vfio_device_attach_iommufd_pt', 16, {
  argsz: u32,
  flags: u32,
  pt_id: u32,
  pasid: u32,
});

/** `pasid` counts only with DETACH_PASID; without it the struct may end before it. */
export const vfioDeviceDetachIommufdPt = struct('vfio_device_detach_iommufd_pt', 12, {
  argsz: u32,
  flags: u32,
  pasid: u32,
});
