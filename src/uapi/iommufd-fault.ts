// linux/iommufd.h: fault queues, and the records that their file gives and takes.
import { struct, u32, u64 } from './struct.js';

export const IOMMU_PGFAULT_FLAGS_PASID_VALID = 0x1;
export const IOMMU_PGFAULT_FLAGS_LAST_PAGE = 0x2;

export const IOMMU_PGFAULT_PERM_READ = 0x1;
export const IOMMU_PGFAULT_PERM_WRITE = 0x2;
export const IOMMU_PGFAULT_PERM_EXEC = 0x4;
export const IOMMU_PGFAULT_PERM_PRIV = 0x8;

export const IOMMUFD_PAGE_RESP_SUCCESS = 0;
export const IOMMUFD_PAGE_RESP_INVALID = 1;

export const iommuFaultAlloc = struct('iommu_fault_alloc', 16, {
  size: u32,
  flags: u32,
  out_fault_id: u32,
  out_fault_fd: u32,
});

/** What `read` gives. */
export const iommuHwptPgfault = struct('iommu_hwpt_pgfault', 40, {
  flags: u32,
  dev_id: u32,
  pasid: u32,
  grpid: u32,
  perm: u32,
  __reserved: u32,
  addr: u64,
  length: u32,
  cookie: u32,
});

/** What `write` takes. */
export const iommuHwptPageResponse = struct('iommu_hwpt_page_response', 8, {
  cookie: u32,
  code: u32,
});
