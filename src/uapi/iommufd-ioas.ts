// linux/iommufd.h: address spaces, the options of a context, and the end of an object.
// Reserved fields are ordinary ones: who answers a call must see what was put there.
import { s32, struct, u16, u32, u64 } from './struct.js';

export const IOMMU_IOAS_MAP_FIXED_IOVA = 0x1;
export const IOMMU_IOAS_MAP_WRITEABLE = 0x2;
export const IOMMU_IOAS_MAP_READABLE = 0x4;

export const IOMMU_OPTION_RLIMIT_MODE = 0;
export const IOMMU_OPTION_HUGE_PAGES = 1;

export const IOMMU_OPTION_OP_SET = 0;
export const IOMMU_OPTION_OP_GET = 1;

export const IOMMU_VFIO_IOAS_GET = 0;
export const IOMMU_VFIO_IOAS_SET = 1;
export const IOMMU_VFIO_IOAS_CLEAR = 2;

export const iommuDestroy = struct('iommu_destroy', 8, { size: u32, id: u32 });

export const iommuIoasAlloc = struct('iommu_ioas_alloc', 12, {
  size: u32,
  flags: u32,
  out_ioas_id: u32,
});

/** Inclusive of `last`. */
export const iommuIovaRange = struct('iommu_iova_range', 16, { start: u64, last: u64 });

/** `allowed_iovas` points to room for `num_iovas` ranges. */
export const iommuIoasIovaRanges = struct('iommu_ioas_iova_ranges', 32, {
  size: u32,
  ioas_id: u32,
  num_iovas: u32,
  __reserved: u32,
  allowed_iovas: u64,
  out_iova_alignment: u64,
});

/** `allowed_iovas` points to `num_iovas` ranges. */
export const iommuIoasAllowIovas = struct('iommu_ioas_allow_iovas', 24, {
  size: u32,
  ioas_id: u32,
  num_iovas: u32,
  __reserved: u32,
  allowed_iovas: u64,
});

export const iommuIoasMap = struct('iommu_ioas_map', 40, {
  size: u32,
  flags: u32,
  ioas_id: u32,
  __reserved: u32,
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

/** Only for devices that no IOMMU stands before. */
export const iommuIoasNoiommuGetPa = struct('iommu_ioas_noiommu_get_pa', 40, {
  size: u32,
  flags: u32,
  ioas_id: u32,
  __reserved: u32,
  iova: u64,
  length: u64,
  out_phys: u64,
});

export const iommuOption = struct('iommu_option', 24, {
  size: u32,
  option_id: u32,
  op: u16,
  __reserved: u16,
  object_id: u32,
  val64: u64,
});

export const iommuVfioIoas = struct('iommu_vfio_ioas', 12, {
  size: u32,
  ioas_id: u32,
  op: u16,
  __reserved: u16,
});

export const iommuIoasChangeProcess = struct('iommu_ioas_change_process', 8, {
  size: u32,
  __reserved: u32,
});
