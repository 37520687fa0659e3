// linux/vfio.h: the legacy container and its type1 IOMMU.
import { reserved, struct, u32, u64 } from './struct.js';
import { vfioInfoCapHeader } from './vfio-device.js';

export const VFIO_API_VERSION = 0;

export const VFIO_TYPE1_IOMMU = 1;
export const VFIO_SPAPR_TCE_IOMMU = 2;
export const VFIO_TYPE1v2_IOMMU = 3;
export const VFIO_DMA_CC_IOMMU = 4;
export const VFIO_EEH = 5;
export const __VFIO_RESERVED_TYPE1_NESTING_IOMMU = 6;
export const VFIO_SPAPR_TCE_v2_IOMMU = 7;
export const VFIO_NOIOMMU_IOMMU = 8;
export const VFIO_UNMAP_ALL = 9;
export const VFIO_UPDATE_VADDR = 10;

export const VFIO_IOMMU_INFO_PGSIZES = 0x1;
export const VFIO_IOMMU_INFO_CAPS = 0x2;

export const VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE = 1;
export const VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION = 2;
export const VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL = 3;

export const VFIO_DMA_MAP_FLAG_READ = 0x1;
export const VFIO_DMA_MAP_FLAG_WRITE = 0x2;
export const VFIO_DMA_MAP_FLAG_VADDR = 0x4;

export const VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP = 0x1;
export const VFIO_DMA_UNMAP_FLAG_ALL = 0x2;
export const VFIO_DMA_UNMAP_FLAG_VADDR = 0x4;

export const VFIO_IOMMU_DIRTY_PAGES_FLAG_START = 0x1;
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP = 0x2;
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP = 0x4;

/** Capabilities follow where `argsz` of the request left room. */
export const vfioIommuType1Info = struct('vfio_iommu_type1_info', 24, {
  argsz: u32,
  flags: u32,
  iova_pgsizes: u64,
  cap_offset: u32,
  pad: u32,
});

/** Inclusive of `end`. */
export const vfioIovaRange = struct('vfio_iova_range', 16, { start: u64, end: u64 });

/** `nr_iovas` ranges follow. */
export const vfioIommuType1InfoCapIovaRange = struct('vfio_iommu_type1_info_cap_iova_range', 16, {
  header: vfioInfoCapHeader,
  nr_iovas: u32,
  reserved: u32,
});

export const vfioIommuType1InfoCapMigration = struct('vfio_iommu_type1_info_cap_migration', 32, {
  header: vfioInfoCapHeader,
  flags: u32,
  _padding: reserved(4),
  pgsize_bitmap: u64,
  max_dirty_bitmap_size: u64,
});

export const vfioIommuType1InfoDmaAvail = struct('vfio_iommu_type1_info_dma_avail', 12, {
  header: vfioInfoCapHeader,
  avail: u32,
});

export const vfioIommuType1DmaMap = struct('vfio_iommu_type1_dma_map', 32, {
  argsz: u32,
  flags: u32,
  vaddr: u64,
  iova: u64,
  size: u64,
});

/** `data` points to `size` bytes, one bit for `pgsize` bytes. */
export const vfioBitmap = struct('vfio_bitmap', 24, { pgsize: u64, size: u64, data: u64 });

/** A bitmap follows with GET_DIRTY_BITMAP. */
export const vfioIommuType1DmaUnmap = struct('vfio_iommu_type1_dma_unmap', 24, {
  argsz: u32,
  flags: u32,
  iova: u64,
  size: u64,
});

/** The next struct follows with GET_BITMAP. */
export const vfioIommuType1DirtyBitmap = struct('vfio_iommu_type1_dirty_bitmap', 8, {
  argsz: u32,
  flags: u32,
});

export const vfioIommuType1DirtyBitmapGet = struct('vfio_iommu_type1_dirty_bitmap_get', 40, {
  iova: u64,
  size: u64,
  bitmap: vfioBitmap,
});
