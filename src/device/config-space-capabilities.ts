// Finds capabilities in a configuration space that somebody else shows. Hostile by default: the
// chain may loop or leave the space.
import { ProtocolError } from '../base/errors.js';
import {
  PCI_CAP_ID_VNDR,
  PCI_CAPABILITY_LIST,
  PCI_CFG_SPACE_SIZE,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
  PCI_STD_HEADER_SIZEOF,
} from './config-space.js';

export interface PciCapability {
  readonly id: number;
  readonly offsetBytes: number;
}

const field = 'pci_capability';

/**
 * The capabilities of a configuration space in the order of their chain.
 *
 * @param config - All 256 bytes of it (of a larger space the first 256 count).
 * @throws ProtocolError for a chain that loops or points outside 0x40..0xff.
 */
export function listCapabilities(config: Uint8Array): PciCapability[] {
  if (config.length < PCI_CFG_SPACE_SIZE) {
    throw new ProtocolError('pci_config', config.length, `${config.length} bytes`);
  }
  const found: PciCapability[] = [];
  if (((config[PCI_STATUS] as number) & PCI_STATUS_CAP_LIST) === 0) return found;
  const seen = new Set<number>();
  // The two low bits of a pointer are reserved: software masks them.
  let at = (config[PCI_CAPABILITY_LIST] as number) & ~3;
  while (at !== 0) {
    if (at < PCI_STD_HEADER_SIZEOF) throw new ProtocolError(field, at, 'inside the header');
    if (seen.has(at)) throw new ProtocolError(field, at, 'the chain loops');
    seen.add(at);
    found.push({ id: config[at] as number, offsetBytes: at });
    at = (config[at + 1] as number) & ~3;
  }
  return found;
}

/**
 * What stands in the vendor-specific capabilities, behind their length byte.
 *
 * @throws ProtocolError for a bad chain, or a length that leaves the space.
 */
export function vendorPayloads(config: Uint8Array): Uint8Array[] {
  return listCapabilities(config)
    .filter((capability) => capability.id === PCI_CAP_ID_VNDR)
    .map(({ offsetBytes }) => {
      const lengthBytes = config[offsetBytes + 2] as number;
      if (lengthBytes < 3 || offsetBytes + lengthBytes > PCI_CFG_SPACE_SIZE) {
        throw new ProtocolError(`${field}.length`, offsetBytes + 2, `${lengthBytes}`);
      }
      return config.slice(offsetBytes + 3, offsetBytes + lengthBytes);
    });
}
