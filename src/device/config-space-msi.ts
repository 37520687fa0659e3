// The MSI capability: message control, address, data, and a mask and a pending bit per vector.
// Pure bytes; where they stand is decided by the configuration space.
import { assert } from '../base/errors.js';

export const PCI_CAP_ID_MSI = 0x05;
export const PCI_MSI_FLAGS = 2;
export const PCI_MSI_FLAGS_ENABLE = 0x1;
export const PCI_MSI_FLAGS_QMASK = 0xe;
export const PCI_MSI_FLAGS_QSIZE = 0x70;
export const PCI_MSI_FLAGS_64BIT = 0x80;
export const PCI_MSI_FLAGS_MASKBIT = 0x100;
const PCI_MSI_ADDRESS_LO = 4;
const PCI_MSI_ADDRESS_HI = 8;

const vectorsMax = 32;

/** Where MSI is in the space; the registers as offsets from its beginning. */
export interface MsiPlace {
  readonly at: number;
  readonly maskAt: number;
  readonly pendingAt: number;
}

export interface MsiLayout {
  readonly bytes: Uint8Array;
  /** Bits that software may change. */
  readonly writable: Uint8Array;
  readonly maskAt: number;
  readonly pendingAt: number;
}

/**
 * Lays the capability out, with per-vector masking.
 *
 * @param vectorCount - A power of two, 1 to 32.
 * @see linux/pci_regs.h `PCI_MSI_*`
 */
export function layMsi(vectorCount: number, addressBits: 32 | 64): MsiLayout {
  const exponent = Math.log2(vectorCount);
  const isFit = Number.isInteger(exponent) && vectorCount >= 1 && vectorCount <= vectorsMax;
  assert(isFit, `${vectorCount} MSI vectors`);
  const isWide = addressBits === 64;
  const dataAt = isWide ? 12 : 8;
  const maskAt = dataAt + 4;
  const pendingAt = maskAt + 4;
  const bytes = new Uint8Array(pendingAt + 4);
  const writable = new Uint8Array(bytes.length);
  const wide = isWide ? PCI_MSI_FLAGS_64BIT : 0;
  bytes[0] = PCI_CAP_ID_MSI;
  const flags = PCI_MSI_FLAGS_MASKBIT | wide | (exponent << 1);
  new DataView(bytes.buffer).setUint16(PCI_MSI_FLAGS, flags, true);
  const mask = new DataView(writable.buffer);
  mask.setUint16(PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE, true);
  mask.setUint32(PCI_MSI_ADDRESS_LO, 0xffff_fffc, true);
  if (isWide) mask.setUint32(PCI_MSI_ADDRESS_HI, 0xffff_ffff, true);
  mask.setUint16(dataAt, 0xffff, true);
  mask.setUint32(maskAt, 2 ** vectorCount - 1, true);
  return { bytes, writable, maskAt, pendingAt };
}
