// COMMAND of a served function: whoever owns the function decodes memory and permits DMA. What a
// single lease may do, its driver permits.
import { PCI_COMMAND, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY } from '../../device/config-space.js';
import { VFIO_PCI_CONFIG_REGION_INDEX } from '../../uapi/vfio.js';
import type { VfioUserClient } from '../../vfio-user/client.js';

/** Sets Memory Space Enable and Bus Master Enable; leaves the other bits. */
export async function enableFunction(device: VfioUserClient): Promise<void> {
  const region = VFIO_PCI_CONFIG_REGION_INDEX;
  const now = await device.read16(region, PCI_COMMAND);
  await device.write16(region, PCI_COMMAND, now | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}
