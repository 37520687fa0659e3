// vfio-user messages: header, commands, their payloads. Offsets are in the payload.
import { bytes, flags32, reserved, struct, u16, u32, u64, u64Number } from './struct.js';

export const VFIO_USER_MAJOR = 0;
export const VFIO_USER_MINOR = 1;

export const VFIO_USER_VERSION = 1;
export const VFIO_USER_DMA_MAP = 2;
export const VFIO_USER_DMA_UNMAP = 3;
export const VFIO_USER_DEVICE_GET_INFO = 4;
export const VFIO_USER_DEVICE_GET_REGION_INFO = 5;
export const VFIO_USER_DEVICE_GET_REGION_IO_FDS = 6;
export const VFIO_USER_DEVICE_GET_IRQ_INFO = 7;
export const VFIO_USER_DEVICE_SET_IRQS = 8;
export const VFIO_USER_REGION_READ = 9;
export const VFIO_USER_REGION_WRITE = 10;
export const VFIO_USER_DMA_READ = 11;
export const VFIO_USER_DMA_WRITE = 12;
export const VFIO_USER_DEVICE_RESET = 13;
export const VFIO_USER_REGION_WRITE_MULTI = 15;
export const VFIO_USER_DEVICE_FEATURE = 16;
export const VFIO_USER_MIG_DATA_READ = 17;
export const VFIO_USER_MIG_DATA_WRITE = 18;

export const VFIO_USER_F_TYPE_MASK = 0xf;
export const VFIO_USER_F_TYPE_COMMAND = 0x0;
export const VFIO_USER_F_TYPE_REPLY = 0x1;
export const VFIO_USER_F_NO_REPLY = 0x10;
export const VFIO_USER_F_ERROR = 0x20;

export const VFIO_USER_F_DMA_REGION_READ = 0x1;
export const VFIO_USER_F_DMA_REGION_WRITE = 0x2;

export const VFIO_USER_F_DMA_UNMAP_GET_DIRTY_BITMAP = 0x1;
export const VFIO_USER_F_DMA_UNMAP_ALL = 0x2;

/** `messageSize` counts the header; flags are judged by the receiver, errno is 0 in commands. */
export const header = struct('vfio_user_header', 16, {
  messageId: u16,
  command: u16,
  messageSize: u32,
  flags: u32,
  errno: u32,
});

/** Followed by JSON with a terminating NUL, or by nothing. */
export const versionHeader = struct('vfio_user_version', 4, { major: u16, minor: u16 });

export const dmaMap = struct('vfio_user_dma_map', 32, {
  argsz: u32,
  flags: flags32(VFIO_USER_F_DMA_REGION_READ | VFIO_USER_F_DMA_REGION_WRITE),
  offset: u64,
  address: u64,
  size: u64,
});

export const dmaUnmap = struct('vfio_user_dma_unmap', 24, {
  argsz: u32,
  flags: flags32(VFIO_USER_F_DMA_UNMAP_GET_DIRTY_BITMAP | VFIO_USER_F_DMA_UNMAP_ALL),
  address: u64,
  size: u64,
});

/** Follows `vfio_user_dma_unmap` when it asks for the dirty bitmap. */
export const dirtyBitmapHeader = struct('vfio_user_bitmap', 16, { pgsize: u64, size: u64 });

export const deviceInfo = struct('vfio_user_device_info', 16, {
  argsz: u32,
  flags: u32,
  numRegions: u32,
  numIrqs: u32,
});

/** Sizes and offsets of regions are below 2^53 on both sides. */
export const regionInfo = struct('vfio_user_region_info', 32, {
  argsz: u32,
  flags: u32,
  index: u32,
  capOffset: u32,
  size: u64Number,
  offset: u64Number,
});

export const regionIoFds = struct('vfio_user_region_io_fds', 16, {
  argsz: u32,
  flags: u32,
  index: u32,
  count: u32,
});

/** One entry of a region-io-fds reply as the specification has it. */
export const ioFdEntry = struct('vfio_user_sub_region_ioeventfd', 40, {
  offset: u64,
  size: u64,
  fdIndex: u32,
  type: u32,
  flags: u32,
  padding: u32,
  datamatch: u64,
});

export const irqInfo = struct('vfio_user_irq_info', 16, {
  argsz: u32,
  flags: u32,
  index: u32,
  count: u32,
});

/** Followed by `count` bytes when flags say DATA_BOOL. */
export const irqSet = struct('vfio_user_irq_set', 20, {
  argsz: u32,
  flags: u32,
  index: u32,
  start: u32,
  count: u32,
});

/** Followed by `count` bytes in a write and in the reply to a read. */
export const regionAccess = struct('vfio_user_region_access', 16, {
  offset: u64Number,
  region: u32,
  count: u32,
});

/** Server to client. Followed by `count` bytes in a write and in the reply to a read. */
export const dmaAccess = struct('vfio_user_dma_access', 16, { address: u64, count: u64Number });

/** REGION_WRITE_MULTI: so many writes follow; in the reply, so many were done. */
export const regionWriteMulti = struct('vfio_user_write_multi', 8, { count: u64Number });

/** One of them; the first `count` bytes of `data` are written. */
export const regionWriteMultiEntry = struct('vfio_user_write_multi_entry', 24, {
  offset: u64Number,
  region: u32,
  count: u32,
  data: bytes(8),
});

export const VFIO_USER_IO_FD_TYPE_IOEVENTFD = 0;
export const VFIO_USER_IO_FD_TYPE_IOREGIONFD = 1;
/** Of libvfio-user alone. */
export const VFIO_USER_IO_FD_TYPE_IOEVENTFD_SHADOW = 2;
/** linux/kvm.h, in the flags of an ioeventfd: only writes of `datamatch` ring. */
export const KVM_IOEVENTFD_FLAG_DATAMATCH = 0x1;

/** DEVICE_FEATURE: what, and which of VFIO_DEVICE_FEATURE_GET, _SET and _PROBE. */
export const deviceFeature = struct('vfio_user_device_feature', 8, { argsz: u32, flags: u32 });

export const featureMigration = struct('vfio_device_feature_migration', 8, { flags: u64Number });

/** `dataFd` means nothing here: data goes by MIG_DATA_READ and MIG_DATA_WRITE. */
export const featureMigState = struct('vfio_device_feature_mig_state', 8, {
  deviceState: u32,
  dataFd: u32,
});

/** Followed by `numRanges` ranges. */
export const featureDmaLogging = struct('vfio_user_device_feature_dma_logging_control', 16, {
  pageSize: u64,
  numRanges: u32,
  reserved: reserved(4),
});

export const dmaLoggingRange = struct('vfio_user_device_feature_dma_logging_range', 16, {
  iova: u64,
  length: u64,
});

/** Followed in the reply by the bitmap, in words of 64 bits. */
export const featureDmaReport = struct('vfio_user_device_feature_dma_logging_report', 24, {
  iova: u64,
  length: u64,
  pageSize: u64,
});

/** Followed by `size` bytes in a write and in the reply to a read. */
export const migData = struct('vfio_user_mig_data', 8, { argsz: u32, size: u32 });
