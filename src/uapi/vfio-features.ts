// linux/vfio.h: VFIO_DEVICE_FEATURE, and what stands behind its header for each feature.
import { bytes, s32, struct, u32, u64 } from './struct.js';

export const VFIO_DEVICE_FEATURE_MASK = 0xffff;
export const VFIO_DEVICE_FEATURE_GET = 0x10000;
export const VFIO_DEVICE_FEATURE_SET = 0x20000;
export const VFIO_DEVICE_FEATURE_PROBE = 0x40000;

export const VFIO_DEVICE_FEATURE_PCI_VF_TOKEN = 0;
export const VFIO_DEVICE_FEATURE_MIGRATION = 1;
export const VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE = 2;
export const VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY = 3;
export const VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP = 4;
export const VFIO_DEVICE_FEATURE_LOW_POWER_EXIT = 5;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_START = 6;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP = 7;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT = 8;
export const VFIO_DEVICE_FEATURE_MIG_DATA_SIZE = 9;
export const VFIO_DEVICE_FEATURE_BUS_MASTER = 10;
export const VFIO_DEVICE_FEATURE_DMA_BUF = 11;
export const VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 = 12;
export const VFIO_DEVICE_FEATURE_ZPCI_ERROR = 13;

export const VFIO_DEVICE_FEATURE_CLEAR_MASTER = 0;
export const VFIO_DEVICE_FEATURE_SET_MASTER = 1;

/** `flags` says which feature and what to do with it; `argsz` counts what follows. */
export const vfioDeviceFeature = struct('vfio_device_feature', 8, { argsz: u32, flags: u32 });

/** PCI_VF_TOKEN. The kernel has no name for it. */
export const vfioDeviceFeaturePciVfToken = struct('uuid', 16, { uuid: bytes(16) });

export const vfioDeviceLowPowerEntryWithWakeup = struct(
  'vfio_device_low_power_entry_with_wakeup',
  8,
  { wakeup_eventfd: s32, reserved: u32 },
);

/** `ranges` points to `num_ranges` ranges. */
export const vfioDeviceFeatureDmaLoggingControl = struct(
  'vfio_device_feature_dma_logging_control',
  24,
  { page_size: u64, num_ranges: u32, __reserved: u32, ranges: u64 },
);

export const vfioDeviceFeatureDmaLoggingRange = struct(
  'vfio_device_feature_dma_logging_range',
  16,
  { iova: u64, length: u64 },
);

/** `bitmap` points to one bit for `page_size` bytes. */
export const vfioDeviceFeatureDmaLoggingReport = struct(
  'vfio_device_feature_dma_logging_report',
  32,
  { iova: u64, length: u64, page_size: u64, bitmap: u64 },
);

export const vfioDeviceFeatureBusMaster = struct('vfio_device_feature_bus_master', 4, { op: u32 });

export const vfioRegionDmaRange = struct('vfio_region_dma_range', 16, {
  offset: u64,
  length: u64,
});

/** `nr_ranges` ranges follow; the result of the call is the descriptor. */
export const vfioDeviceFeatureDmaBuf = struct('vfio_device_feature_dma_buf', 16, {
  region_index: u32,
  open_flags: u32,
  flags: u32,
  nr_ranges: u32,
});

export const vfioDeviceFeatureZpciErr = struct('vfio_device_feature_zpci_err', 8, { data: u64 });
