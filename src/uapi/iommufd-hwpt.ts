// linux/iommufd.h: page tables of devices: making them, invalidating, dirty pages.
import { array, struct, u32, u64 } from './struct.js';

export const IOMMU_HWPT_ALLOC_NEST_PARENT = 0x1;
export const IOMMU_HWPT_ALLOC_DIRTY_TRACKING = 0x2;
export const IOMMU_HWPT_FAULT_ID_VALID = 0x4;
export const IOMMU_HWPT_ALLOC_PASID = 0x8;

export const IOMMU_HWPT_DATA_NONE = 0;
export const IOMMU_HWPT_DATA_VTD_S1 = 1;
export const IOMMU_HWPT_DATA_ARM_SMMUV3 = 2;
export const IOMMU_HWPT_DATA_AMD_GUEST = 3;

export const IOMMU_VTD_S1_SRE = 0x1;
export const IOMMU_VTD_S1_EAFE = 0x2;
export const IOMMU_VTD_S1_WPE = 0x4;

export const IOMMU_HWPT_DIRTY_TRACKING_ENABLE = 0x1;
export const IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR = 0x1;

export const IOMMU_HWPT_INVALIDATE_DATA_VTD_S1 = 0;
export const IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3 = 1;

export const IOMMU_VTD_INV_FLAGS_LEAF = 0x1;

/** `data_uptr` points to `data_len` bytes of what `data_type` says, one of the next three. */
export const iommuHwptAlloc = struct('iommu_hwpt_alloc', 48, {
  size: u32,
  flags: u32,
  dev_id: u32,
  pt_id: u32,
  out_hwpt_id: u32,
  __reserved: u32,
  data_type: u32,
  data_len: u32,
  data_uptr: u64,
  fault_id: u32,
  __reserved2: u32,
});

export const iommuHwptVtdS1 = struct('iommu_hwpt_vtd_s1', 24, {
  flags: u64,
  pgtbl_addr: u64,
  addr_width: u32,
  __reserved: u32,
});

export const iommuHwptArmSmmuv3 = struct('iommu_hwpt_arm_smmuv3', 16, { ste: array(u64, 2) });

export const iommuHwptAmdGuest = struct('iommu_hwpt_amd_guest', 32, { dte: array(u64, 4) });

/** `data_uptr` points to `entry_num` entries of `entry_len` bytes each, as `data_type` says. */
export const iommuHwptInvalidate = struct('iommu_hwpt_invalidate', 32, {
  size: u32,
  hwpt_id: u32,
  data_uptr: u64,
  data_type: u32,
  entry_len: u32,
  entry_num: u32,
  __reserved: u32,
});

export const iommuHwptVtdS1Invalidate = struct('iommu_hwpt_vtd_s1_invalidate', 24, {
  addr: u64,
  npages: u64,
  flags: u32,
  __reserved: u32,
});

export const iommuViommuArmSmmuv3Invalidate = struct('iommu_viommu_arm_smmuv3_invalidate', 16, {
  cmd: array(u64, 2),
});

export const iommuHwptSetDirtyTracking = struct('iommu_hwpt_set_dirty_tracking', 16, {
  size: u32,
  flags: u32,
  hwpt_id: u32,
  __reserved: u32,
});

/** `data` points to the bitmap, one bit for `page_size` bytes. */
export const iommuHwptGetDirtyBitmap = struct('iommu_hwpt_get_dirty_bitmap', 48, {
  size: u32,
  hwpt_id: u32,
  flags: u32,
  __reserved: u32,
  iova: u64,
  length: u64,
  page_size: u64,
  data: u64,
});
