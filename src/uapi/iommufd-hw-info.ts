// linux/iommufd.h: what the IOMMU before a device is, in general and by its type.
import { array, struct, u8, u32, u64 } from './struct.js';

export const IOMMU_HW_INFO_FLAG_INPUT_TYPE = 0x1;

export const IOMMU_HW_INFO_TYPE_NONE = 0;
/** In a request: whatever the IOMMU is. */
export const IOMMU_HW_INFO_TYPE_DEFAULT = 0;
export const IOMMU_HW_INFO_TYPE_INTEL_VTD = 1;
export const IOMMU_HW_INFO_TYPE_ARM_SMMUV3 = 2;
export const IOMMU_HW_INFO_TYPE_TEGRA241_CMDQV = 3;
export const IOMMU_HW_INFO_TYPE_AMD = 4;

export const IOMMU_HW_CAP_DIRTY_TRACKING = 0x1;
export const IOMMU_HW_CAP_PCI_PASID_EXEC = 0x2;
export const IOMMU_HW_CAP_PCI_PASID_PRIV = 0x4;
export const IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED = 0x8;

export const IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17 = 0x1;
export const IOMMU_HW_INFO_ARM_SMMUV3_ERRATA_REPEAT_TLBI_CFGI = 0x1;

/**
 * `data_type` is the kernel's `in_data_type` in the request and `out_data_type` in the answer.
 * `data_uptr` points to room for `data_len` bytes.
 */
export const iommuHwInfo = struct('iommu_hw_info', 40, {
  size: u32,
  flags: u32,
  dev_id: u32,
  data_len: u32,
  data_uptr: u64,
  data_type: u32,
  out_max_pasid_log2: u8,
  __reserved: array(u8, 3),
  out_capabilities: u64,
});

export const iommuHwInfoVtd = struct('iommu_hw_info_vtd', 24, {
  flags: u32,
  __reserved: u32,
  cap_reg: u64,
  ecap_reg: u64,
});

export const iommuHwInfoArmSmmuv3 = struct('iommu_hw_info_arm_smmuv3', 40, {
  flags: u32,
  __reserved: u32,
  idr: array(u32, 6),
  iidr: u32,
  aidr: u32,
});

export const iommuHwInfoTegra241Cmdqv = struct('iommu_hw_info_tegra241_cmdqv', 8, {
  flags: u32,
  version: u8,
  log2vcmdqs: u8,
  log2vsids: u8,
  __reserved: u8,
});

export const iommuHwInfoAmd = struct('iommu_hw_info_amd', 16, { efr: u64, efr2: u64 });
