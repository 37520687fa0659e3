// What the first 256 bytes of a configuration space say of a function, whoever shows them: all of
// it is judged before it is believed. Pure.
import { ProtocolError } from '../base/errors.js';
import { hex } from '../base/units.js';
import {
  PCI_CAP_ID_MSIX,
  PCI_CFG_SPACE_SIZE,
  PCI_CLASS_REVISION,
  PCI_DEVICE_ID,
  PCI_SUBSYSTEM_ID,
  PCI_SUBSYSTEM_VENDOR_ID,
  PCI_VENDOR_ID,
} from '../device/config-space.js';
import { listCapabilities } from '../device/config-space-capabilities.js';
import { u16, u32 } from '../uapi/struct.js';
import type { FunctionInfo, RegionInfo, RegionRange } from './types.js';

const msixTableSizeMask = 0x7ff;
const barIndexMask = 0x7;
const tableEntryBytes = 16;
const pbaWordBytes = 8;

export interface MsixFacts {
  readonly vectorCount: number;
  /** Table and PBA. */
  readonly reserved: readonly RegionRange[];
}

/** A table or PBA, inside its region. */
function rangeAt(
  config: Uint8Array,
  at: number,
  lengthBytes: number,
  regions: readonly RegionInfo[],
): RegionRange {
  const word = u32.read(config, at, 'msix');
  const region = word & barIndexMask;
  const offsetBytes = (word & ~barIndexMask) >>> 0;
  const shown = regions.find(({ index }) => index === region)?.lengthBytes ?? 0;
  if (offsetBytes + lengthBytes > shown) {
    const detail = `${lengthBytes} bytes at ${hex(offsetBytes)} of region ${region}`;
    throw new ProtocolError('pci_msix_capability', at, detail);
  }
  return { region, offsetBytes, lengthBytes };
}

/**
 * The MSI-X capability; undefined: there is none.
 *
 * @param config - The first 256 bytes of configuration space.
 * @throws ProtocolError for a bad chain, and for tables outside the regions
 */
export function msixOf(config: Uint8Array, regions: readonly RegionInfo[]): MsixFacts | undefined {
  const found = listCapabilities(config).find(({ id }) => id === PCI_CAP_ID_MSIX);
  if (found === undefined) return undefined;
  const { offsetBytes: at } = found;
  if (at + 12 > PCI_CFG_SPACE_SIZE) throw new ProtocolError('pci_msix_capability', at, 'cut off');
  const vectorCount = (u16.read(config, at + 2, 'msix') & msixTableSizeMask) + 1;
  const pbaBytes = Math.ceil(vectorCount / 64) * pbaWordBytes;
  return {
    vectorCount,
    reserved: [
      rangeAt(config, at + 4, vectorCount * tableEntryBytes, regions),
      rangeAt(config, at + 8, pbaBytes, regions),
    ],
  };
}

export type IdentityFacts = Pick<
  FunctionInfo,
  'vendorId' | 'deviceId' | 'subsystemVendorId' | 'subsystemId' | 'classCode' | 'revisionId'
>;

/**
 * Who made the function, and what it is.
 *
 * @throws ProtocolError for less than 256 bytes
 */
export function identityOf(config: Uint8Array): IdentityFacts {
  if (config.length < PCI_CFG_SPACE_SIZE) {
    throw new ProtocolError('pci_config', config.length, `${config.length} bytes`);
  }
  const classRevision = u32.read(config, PCI_CLASS_REVISION, 'config');
  return {
    vendorId: u16.read(config, PCI_VENDOR_ID, 'config'),
    deviceId: u16.read(config, PCI_DEVICE_ID, 'config'),
    subsystemVendorId: u16.read(config, PCI_SUBSYSTEM_VENDOR_ID, 'config'),
    subsystemId: u16.read(config, PCI_SUBSYSTEM_ID, 'config'),
    classCode: classRevision >>> 8,
    revisionId: classRevision & 0xff,
  };
}
