// linux/vfio.h: moving the state of a device.
import { s32, struct, u32, u64 } from './struct.js';

export const VFIO_MIGRATION_STOP_COPY = 0x1;
export const VFIO_MIGRATION_P2P = 0x2;
export const VFIO_MIGRATION_PRE_COPY = 0x4;

export const VFIO_DEVICE_STATE_ERROR = 0;
export const VFIO_DEVICE_STATE_STOP = 1;
export const VFIO_DEVICE_STATE_RUNNING = 2;
export const VFIO_DEVICE_STATE_STOP_COPY = 3;
export const VFIO_DEVICE_STATE_RESUMING = 4;
export const VFIO_DEVICE_STATE_RUNNING_P2P = 5;
export const VFIO_DEVICE_STATE_PRE_COPY = 6;
export const VFIO_DEVICE_STATE_PRE_COPY_P2P = 7;

export const VFIO_PRECOPY_INFO_REINIT = 0x1;

export const vfioDeviceFeatureMigration = struct('vfio_device_feature_migration', 8, {
  flags: u64,
});

/** `data_fd` is the answer's: where the state is read or written, or -1. */
export const vfioDeviceFeatureMigState = struct('vfio_device_feature_mig_state', 8, {
  device_state: u32,
  data_fd: s32,
});

export const vfioDeviceFeatureMigDataSize = struct('vfio_device_feature_mig_data_size', 8, {
  stop_copy_length: u64,
});

export const vfioPrecopyInfo = struct('vfio_precopy_info', 24, {
  argsz: u32,
  flags: u32,
  initial_bytes: u64,
  dirty_bytes: u64,
});
