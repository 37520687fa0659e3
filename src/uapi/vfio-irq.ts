// linux/vfio.h: interrupts of a device, and writes that ring eventfds.
import { s32, struct, u32, u64 } from './struct.js';

export const VFIO_PCI_INTX_IRQ_INDEX = 0;
export const VFIO_PCI_MSI_IRQ_INDEX = 1;
export const VFIO_PCI_MSIX_IRQ_INDEX = 2;
export const VFIO_PCI_ERR_IRQ_INDEX = 3;
export const VFIO_PCI_REQ_IRQ_INDEX = 4;
export const VFIO_PCI_NUM_IRQS = 5;

export const VFIO_IRQ_INFO_EVENTFD = 0x1;
export const VFIO_IRQ_INFO_MASKABLE = 0x2;
export const VFIO_IRQ_INFO_AUTOMASKED = 0x4;
export const VFIO_IRQ_INFO_NORESIZE = 0x8;

export const VFIO_IRQ_SET_DATA_NONE = 0x1;
export const VFIO_IRQ_SET_DATA_BOOL = 0x2;
export const VFIO_IRQ_SET_DATA_EVENTFD = 0x4;
export const VFIO_IRQ_SET_DATA_TYPE_MASK = 0x7;
export const VFIO_IRQ_SET_ACTION_MASK = 0x8;
export const VFIO_IRQ_SET_ACTION_UNMASK = 0x10;
export const VFIO_IRQ_SET_ACTION_TRIGGER = 0x20;
export const VFIO_IRQ_SET_ACTION_TYPE_MASK = 0x38;

/** The width of the write. */
export const VFIO_DEVICE_IOEVENTFD_8 = 0x1;
export const VFIO_DEVICE_IOEVENTFD_16 = 0x2;
export const VFIO_DEVICE_IOEVENTFD_32 = 0x4;
export const VFIO_DEVICE_IOEVENTFD_64 = 0x8;
export const VFIO_DEVICE_IOEVENTFD_SIZE_MASK = 0xf;

export const vfioIrqInfo = struct('vfio_irq_info', 16, {
  argsz: u32,
  flags: u32,
  index: u32,
  count: u32,
});

/** Data follows: `count` bytes with DATA_BOOL, `count` s32 with DATA_EVENTFD. */
export const vfioIrqSet = struct('vfio_irq_set', 20, {
  argsz: u32,
  flags: u32,
  index: u32,
  start: u32,
  count: u32,
});

/** `fd` -1 takes it away. The struct may end before `reserved`. */
export const vfioDeviceIoeventfd = struct('vfio_device_ioeventfd', 32, {
  argsz: u32,
  flags: u32,
  offset: u64,
  data: u64,
  fd: s32,
  reserved: u32,
});
