// linux/vfio.h: reset of a slot or bus, and who else it hits.
import { struct, u8, u16, u32 } from './struct.js';

/** `id` of the devices is an iommufd's device id, not a group. */
export const VFIO_PCI_HOT_RESET_FLAG_DEV_ID = 0x1;
/** All of them are the caller's. */
export const VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED = 0x2;

/** The caller's, without an id of its own. */
export const VFIO_PCI_DEVID_OWNED = 0;
export const VFIO_PCI_DEVID_NOT_OWNED = -1;

/** `id` is the kernel's `group_id` or, with FLAG_DEV_ID, its `devid`. */
export const vfioPciDependentDevice = struct('vfio_pci_dependent_device', 8, {
  id: u32,
  segment: u16,
  bus: u8,
  devfn: u8,
});

/** `count` dependent devices follow. */
export const vfioPciHotResetInfo = struct('vfio_pci_hot_reset_info', 12, {
  argsz: u32,
  flags: u32,
  count: u32,
});

/** `count` s32 group descriptors follow; none for a device of an iommufd. */
export const vfioPciHotReset = struct('vfio_pci_hot_reset', 12, {
  argsz: u32,
  flags: u32,
  count: u32,
});
