// linux/iommufd.h: the ioctls and structs of address spaces. Field names are the kernel's.
// Every struct begins with its own size; the kernel refuses one that is too short with EINVAL.
import { reserved, s32, struct, u32, u64 } from './struct.js';
import { vfioIoctl } from './vfio.js';

export const IOMMU_DESTROY = vfioIoctl(0x80);
export const IOMMU_IOAS_ALLOC = vfioIoctl(0x81);
export const IOMMU_IOAS_ALLOW_IOVAS = vfioIoctl(0x82);
export const IOMMU_IOAS_COPY = vfioIoctl(0x83);
export const IOMMU_IOAS_IOVA_RANGES = vfioIoctl(0x84);
export const IOMMU_IOAS_MAP = vfioIoctl(0x85);
export const IOMMU_IOAS_UNMAP = vfioIoctl(0x86);
export const IOMMU_HWPT_ALLOC = vfioIoctl(0x89);
export const IOMMU_IOAS_MAP_FILE = vfioIoctl(0x8f);

export const IOMMU_IOAS_MAP_FIXED_IOVA = 0x1;
export const IOMMU_IOAS_MAP_WRITEABLE = 0x2;
export const IOMMU_IOAS_MAP_READABLE = 0x4;

export const IOMMU_HWPT_ALLOC_NEST_PARENT = 0x1;
export const IOMMU_HWPT_ALLOC_DIRTY_TRACKING = 0x2;
export const IOMMU_HWPT_FAULT_ID_VALID = 0x4;
export const IOMMU_HWPT_ALLOC_PASID = 0x8;

export const IOMMU_HWPT_DATA_NONE = 0;

export const iommuDestroy = struct('iommu_destroy', 8, { size: u32, id: u32 });

export const iommuIoasAlloc = struct('iommu_ioas_alloc', 12, {
  size: u32,
  flags: u32,
  out_ioas_id: u32,
});

/** Inclusive of `last`. */
export const iommuIovaRange = struct('iommu_iova_range', 16, { start: u64, last: u64 });

export const iommuIoasIovaRanges = struct('iommu_ioas_iova_ranges', 32, {
  size: u32,
  ioas_id: u32,
  num_iovas: u32,
  __reserved: reserved(4),
  allowed_iovas: u64,
  out_iova_alignment: u64,
});

export const iommuIoasAllowIovas = struct('iommu_ioas_allow_iovas', 24, {
  size: u32,
  ioas_id: u32,
  num_iovas: u32,
  __reserved: reserved(4),
  allowed_iovas: u64,
});

export const iommuIoasMap = struct('iommu_ioas_map', 40, {
  size: u32,
  flags: u32,
  ioas_id: u32,
  __reserved: reserved(4),
  user_va: u64,
  length: u64,
  iova: u64,
});

export const iommuIoasMapFile = struct('iommu_ioas_map_file', 40, {
  size: u32,
  flags: u32,
  ioas_id: u32,
  fd: s32,
  start: u64,
  length: u64,
  iova: u64,
});

export const iommuIoasCopy = struct('iommu_ioas_copy', 40, {
  size: u32,
  flags: u32,
  dst_ioas_id: u32,
  src_ioas_id: u32,
  length: u64,
  dst_iova: u64,
  src_iova: u64,
});

export const iommuIoasUnmap = struct('iommu_ioas_unmap', 24, {
  size: u32,
  ioas_id: u32,
  iova: u64,
  length: u64,
});

export const iommuHwptAlloc = struct('iommu_hwpt_alloc', 48, {
  size: u32,
  flags: u32,
  dev_id: u32,
  pt_id: u32,
  out_hwpt_id: u32,
  __reserved: reserved(4),
  data_type: u32,
  data_len: u32,
  data_uptr: u64,
  fault_id: u32,
  __reserved2: reserved(4),
});
