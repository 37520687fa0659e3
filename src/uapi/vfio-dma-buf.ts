// Device features for dma-bufs of a VFIO device that have been proposed for linux/vfio.h and are in
// no release. Which numbers they have is up to the kernel that has them: nothing here names one.
import { s32, struct, u32 } from './struct.js';

/** First and last feature number that no release of the kernel, up to 7.3, gives a meaning. */
export const unassignedFeatures = { first: 14, last: 63 } as const;

/** Takes all access that a dma-buf gives away for good, from mappings and importers. */
export const vfioDeviceFeatureDmaBufRevoke = struct('vfio_device_feature_dma_buf_revoke', 4, {
  dmabuf_fd: s32,
});

/** How later mappings of a dma-buf access the device. */
export const vfioDeviceFeatureDmaBufMemattr = struct('vfio_device_feature_dma_buf_memattr', 8, {
  dmabuf_fd: s32,
  memattr: u32,
});

/** Neither cached nor combined: as a BAR is mapped otherwise. */
export const VFIO_DMA_BUF_MEMATTR_NC = 0;
export const VFIO_DMA_BUF_MEMATTR_WC = 1;
