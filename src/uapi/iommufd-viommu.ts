// linux/iommufd.h: virtual IOMMUs, their devices, event queues and hardware queues.
import { array, struct, u32, u64 } from './struct.js';

export const IOMMU_VIOMMU_TYPE_DEFAULT = 0;
export const IOMMU_VIOMMU_TYPE_ARM_SMMUV3 = 1;
export const IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV = 2;

export const IOMMU_VEVENTQ_TYPE_DEFAULT = 0;
export const IOMMU_VEVENTQ_TYPE_ARM_SMMUV3 = 1;
export const IOMMU_VEVENTQ_TYPE_TEGRA241_CMDQV = 2;

export const IOMMU_VEVENTQ_FLAG_LOST_EVENTS = 0x1;

export const IOMMU_HW_QUEUE_TYPE_DEFAULT = 0;
export const IOMMU_HW_QUEUE_TYPE_TEGRA241_CMDQV = 1;

export const iommuViommuAlloc = struct('iommu_viommu_alloc', 40, {
  size: u32,
  flags: u32,
  type: u32,
  dev_id: u32,
  hwpt_id: u32,
  out_viommu_id: u32,
  data_len: u32,
  __reserved: u32,
  data_uptr: u64,
});

export const iommuViommuTegra241Cmdqv = struct('iommu_viommu_tegra241_cmdqv', 16, {
  out_vintf_mmap_offset: u64,
  out_vintf_mmap_length: u64,
});

export const iommuVdeviceAlloc = struct('iommu_vdevice_alloc', 24, {
  size: u32,
  viommu_id: u32,
  dev_id: u32,
  out_vdevice_id: u32,
  virt_id: u64,
});

export const iommuVeventqAlloc = struct('iommu_veventq_alloc', 32, {
  size: u32,
  flags: u32,
  viommu_id: u32,
  type: u32,
  veventq_depth: u32,
  out_veventq_id: u32,
  out_veventq_fd: u32,
  __reserved: u32,
});

/** What `read` of an event queue gives, followed by one of the next two. */
export const iommufdVeventHeader = struct('iommufd_vevent_header', 8, {
  flags: u32,
  sequence: u32,
});

export const iommuVeventArmSmmuv3 = struct('iommu_vevent_arm_smmuv3', 32, { evt: array(u64, 4) });

export const iommuVeventTegra241Cmdqv = struct('iommu_vevent_tegra241_cmdqv', 16, {
  lvcmdq_err_map: array(u64, 2),
});

export const iommuHwQueueAlloc = struct('iommu_hw_queue_alloc', 40, {
  size: u32,
  flags: u32,
  viommu_id: u32,
  type: u32,
  index: u32,
  out_hw_queue_id: u32,
  nesting_parent_iova: u64,
  length: u64,
});
