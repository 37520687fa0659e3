// Configuration space of an open function. The kernel shows some of it from its own copy, ids and
// BARs for one: these are there also when the device is not.
import { isOsError, ProtocolError } from '../../base/errors.js';
import {
  PCI_CFG_SPACE_SIZE,
  PCI_CLASS_REVISION,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
} from '../../device/config-space.js';
import { u16, u32 } from '../../uapi/struct.js';
import { VFIO_PCI_CONFIG_REGION_INDEX } from '../../uapi/vfio.js';
import type { VfioDevice, VfioRegion } from './types.js';

function configOf({ regions }: VfioDevice): VfioRegion {
  const region = regions.get(VFIO_PCI_CONFIG_REGION_INDEX);
  if (region !== undefined && region.lengthBytes >= PCI_CFG_SPACE_SIZE) return region;
  throw new ProtocolError('pci_config', 0, `${region?.lengthBytes ?? 0} bytes`);
}

function read(device: VfioDevice, at: number, lengthBytes: number): Uint8Array {
  const { os, fd } = device;
  const bytes = new Uint8Array(lengthBytes);
  const count = os.readAt(fd, bytes, configOf(device).fileOffsetBytes + at);
  if (count !== lengthBytes) throw new ProtocolError('pci_config', at, `${count} bytes of it`);
  return bytes;
}

/** Its first 256 bytes. @throws ProtocolError when they are not there; OsError */
export function readConfig(device: VfioDevice): Uint8Array {
  return read(device, 0, PCI_CFG_SPACE_SIZE);
}

/** Sets and clears bits of COMMAND; the others stay. @throws OsError */
function changeCommand(device: VfioDevice, set: number, clear: number): void {
  const now = u16.read(read(device, PCI_COMMAND, 2), 0, 'command');
  const bytes = new Uint8Array(2);
  u16.write(bytes, 0, (now & ~clear) | set, 'command');
  device.os.writeAt(device.fd, bytes, configOf(device).fileOffsetBytes + PCI_COMMAND);
}

/** Has the function decode its memory and lets it begin DMA. @throws OsError */
export function enableFunction(device: VfioDevice): void {
  changeCommand(device, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
}

/** Ends DMA of the function at its source. @throws OsError */
export function disableMaster(device: VfioDevice): void {
  changeCommand(device, 0, PCI_COMMAND_MASTER);
}

/**
 * Whether the function does not answer any more. Its class tells: the ids come from the kernel's
 * copy, and would be right for ever.
 */
export function isGone(device: VfioDevice): boolean {
  try {
    return u32.read(read(device, PCI_CLASS_REVISION, 4), 0, 'config') === 0xffff_ffff;
  } catch (error) {
    if (isOsError(error)) return true;
    throw error;
  }
}
