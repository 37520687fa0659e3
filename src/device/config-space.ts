// The configuration space of a PCI function with a type-0 header: 256 bytes, a mask of the bits
// that software may change, and a capability chain. Pure: no device behind it.
import { assert, LessorError } from '../base/errors.js';
import {
  layMsi,
  type MsiPlace,
  PCI_MSI_FLAGS,
  PCI_MSI_FLAGS_ENABLE,
  PCI_MSI_FLAGS_QSIZE,
} from './config-space-msi.js';
import type { DeviceConfig } from './types.js';

export const PCI_VENDOR_ID = 0x00;
export const PCI_DEVICE_ID = 0x02;
export const PCI_COMMAND = 0x04;
export const PCI_COMMAND_MEMORY = 0x2;
export const PCI_COMMAND_MASTER = 0x4;
export const PCI_COMMAND_INTX_DISABLE = 0x400;
export const PCI_STATUS = 0x06;
export const PCI_STATUS_INTERRUPT = 0x8;
export const PCI_STATUS_CAP_LIST = 0x10;
export const PCI_CLASS_REVISION = 0x08;
export const PCI_CACHE_LINE_SIZE = 0x0c;
export const PCI_BASE_ADDRESS_0 = 0x10;
export const PCI_SUBSYSTEM_VENDOR_ID = 0x2c;
export const PCI_SUBSYSTEM_ID = 0x2e;
export const PCI_ROM_ADDRESS = 0x30;
export const PCI_ROM_ADDRESS_ENABLE = 0x1;
export const PCI_CAPABILITY_LIST = 0x34;
export const PCI_INTERRUPT_LINE = 0x3c;
export const PCI_INTERRUPT_PIN = 0x3d;
export const PCI_STD_HEADER_SIZEOF = 0x40;
export const PCI_CFG_SPACE_SIZE = 256;

export const PCI_CAP_ID_VNDR = 0x09;
export const PCI_CAP_ID_MSIX = 0x11;
export const PCI_MSIX_FLAGS = 2;
export const PCI_MSIX_FLAGS_ENABLE = 0x8000;
export const PCI_MSIX_FLAGS_MASKALL = 0x4000;
export const PCI_CAP_MSIX_SIZEOF = 12;

const msixVectorsMax = 2048;
const barBytesMin = 16;
const barBytesMax = 2 ** 31;
const romIndex = 6;
const romBytesMin = 2048;
const pinA = 1;
/** Capability id, next pointer and length byte of a vendor-specific capability. */
const vendorHeaderBytes = 3;

type Identity = Pick<
  DeviceConfig,
  | 'vendorId'
  | 'deviceId'
  | 'subsystemVendorId'
  | 'subsystemId'
  | 'classCode'
  | 'revisionId'
  | 'vectorCount'
  | 'msix'
  | 'msiVectorCount'
  | 'msiAddressBits'
  | 'intx'
>;

export interface ConfigSpaceSpec extends Identity {
  /**
   * 32-bit memory BARs, each a power of two from 16 bytes to 2 GiB; index 6 is the expansion ROM,
   * from 2 KiB.
   */
  readonly bars: readonly { readonly index: number; readonly lengthBytes: number }[];
  /** What stands in vendor-specific capabilities, behind their length byte. */
  readonly vendorCapabilities?: readonly Uint8Array[];
}

/** What a write changed in COMMAND; absent: nothing. */
export interface CommandChange {
  readonly memoryEnabled?: boolean;
  readonly busMaster?: boolean;
}

const noChange: CommandChange = {};

export class ConfigSpace {
  readonly #bytes = new Uint8Array(PCI_CFG_SPACE_SIZE);
  /** Bits that a write may change. */
  readonly #writable = new Uint8Array(PCI_CFG_SPACE_SIZE);
  readonly #initial: Uint8Array;
  readonly #view = new DataView(this.#bytes.buffer);
  #msixAt = 0;
  #msi: MsiPlace | undefined;

  constructor(spec: ConfigSpaceSpec) {
    this.#layHeader(spec);
    for (const bar of spec.bars) this.#layBar(bar.index, bar.lengthBytes);
    this.#layCapabilities(spec);
    this.#initial = this.#bytes.slice();
  }

  get memoryEnabled(): boolean {
    return (this.#u16(PCI_COMMAND) & PCI_COMMAND_MEMORY) !== 0;
  }

  get busMaster(): boolean {
    return (this.#u16(PCI_COMMAND) & PCI_COMMAND_MASTER) !== 0;
  }

  get msixEnabled(): boolean {
    return (this.#msixFlags() & PCI_MSIX_FLAGS_ENABLE) !== 0;
  }

  get msixMasked(): boolean {
    return (this.#msixFlags() & PCI_MSIX_FLAGS_MASKALL) !== 0;
  }

  /** COMMAND forbids the INTx pin. */
  get intxDisabled(): boolean {
    return (this.#u16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE) !== 0;
  }

  get msiEnabled(): boolean {
    return (this.#msiFlags() & PCI_MSI_FLAGS_ENABLE) !== 0;
  }

  /** How many vectors software allotted to MSI: 1 to 32, a power of two. */
  get msiAllotted(): number {
    return 1 << Math.min((this.#msiFlags() & PCI_MSI_FLAGS_QSIZE) >> 4, 5);
  }

  /** The mask register of MSI: bit n masks vector n. */
  get msiMask(): number {
    return this.#msi === undefined ? 0 : this.#view.getUint32(this.#msi.maskAt, true);
  }

  /** The pending register of MSI, which software only reads. */
  set msiPending(bits: number) {
    if (this.#msi !== undefined) this.#view.setUint32(this.#msi.pendingAt, bits >>> 0, true);
  }

  /** STATUS: whether the INTx pin would be driven, INTX_DISABLE apart. */
  set intxStatus(isHigh: boolean) {
    const rest = this.#u16(PCI_STATUS) & ~PCI_STATUS_INTERRUPT;
    this.#view.setUint16(PCI_STATUS, rest | (isHigh ? PCI_STATUS_INTERRUPT : 0), true);
  }

  /**
   * Any bytes of the space, as a copy.
   *
   * @throws LessorError `INVALID_ARGUMENT` outside 0..256.
   */
  read(offsetBytes: number, lengthBytes: number): Uint8Array {
    this.#checkRange(offsetBytes, lengthBytes);
    return this.#bytes.slice(offsetBytes, offsetBytes + lengthBytes);
  }

  /**
   * Writes any bytes; bits that software may not change keep their value.
   *
   * @throws LessorError `INVALID_ARGUMENT` outside 0..256; nothing is written then.
   */
  write(offsetBytes: number, data: Uint8Array): CommandChange {
    this.#checkRange(offsetBytes, data.length);
    const before = this.#u16(PCI_COMMAND);
    data.forEach((value, index) => {
      const at = offsetBytes + index;
      const mask = this.#writable[at] as number;
      this.#bytes[at] = ((this.#bytes[at] as number) & ~mask) | (value & mask);
    });
    return changeOf(before, this.#u16(PCI_COMMAND));
  }

  /** Everything as it was at first: COMMAND, BARs and MSI-X control are cleared. */
  reset(): CommandChange {
    const before = this.#u16(PCI_COMMAND);
    this.#bytes.set(this.#initial);
    return changeOf(before, 0);
  }

  #layHeader(spec: ConfigSpaceSpec): void {
    this.#put16(PCI_VENDOR_ID, spec.vendorId);
    this.#put16(PCI_DEVICE_ID, spec.deviceId);
    assert(spec.classCode >= 0 && spec.classCode < 2 ** 24, `class code ${spec.classCode}`);
    assert(spec.revisionId >= 0 && spec.revisionId < 256, `revision ${spec.revisionId}`);
    this.#view.setUint32(PCI_CLASS_REVISION, spec.classCode * 256 + spec.revisionId, true);
    this.#put16(PCI_SUBSYSTEM_VENDOR_ID, spec.subsystemVendorId);
    this.#put16(PCI_SUBSYSTEM_ID, spec.subsystemId);
    this.#writable[PCI_COMMAND] = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    if (spec.intx === true) {
      this.#bytes[PCI_INTERRUPT_PIN] = pinA;
      this.#writable[PCI_COMMAND + 1] = PCI_COMMAND_INTX_DISABLE >> 8;
    }
    this.#writable[PCI_CACHE_LINE_SIZE] = 0xff;
    this.#writable[PCI_INTERRUPT_LINE] = 0xff;
  }

  /** Only address bits above the size can be changed: that is how software finds the size. */
  #layBar(index: number, lengthBytes: number): void {
    assert(Number.isInteger(index) && index >= 0 && index <= romIndex, `BAR ${index}`);
    const isRom = index === romIndex;
    const isPower = Number.isInteger(Math.log2(lengthBytes));
    const bytesMin = isRom ? romBytesMin : barBytesMin;
    const inRange = lengthBytes >= bytesMin && lengthBytes <= barBytesMax;
    assert(isPower && inRange, `BAR ${index} of ${lengthBytes} bytes`);
    const mask = new DataView(this.#writable.buffer);
    const address = 2 ** 32 - lengthBytes;
    if (isRom) mask.setUint32(PCI_ROM_ADDRESS, address + PCI_ROM_ADDRESS_ENABLE, true);
    else mask.setUint32(PCI_BASE_ADDRESS_0 + 4 * index, address, true);
  }

  #layCapabilities(spec: ConfigSpaceSpec): void {
    let link = PCI_CAPABILITY_LIST;
    let at = PCI_STD_HEADER_SIZEOF;
    const add = (bytes: Uint8Array): number => {
      const placed = at;
      assert(placed + bytes.length <= PCI_CFG_SPACE_SIZE, 'the capabilities do not fit');
      this.#bytes.set(bytes, placed);
      this.#bytes[link] = placed;
      link = placed + 1;
      at = (placed + bytes.length + 3) & ~3;
      return placed;
    };
    if (spec.msix !== undefined) {
      this.#msixAt = add(msixCapability(spec.vectorCount, spec.msix));
      this.#writable[this.#msixAt + PCI_MSIX_FLAGS + 1] =
        (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
    }
    if (spec.msiVectorCount !== undefined) {
      const msi = layMsi(spec.msiVectorCount, spec.msiAddressBits ?? 64);
      const placed = add(msi.bytes);
      this.#writable.set(msi.writable, placed);
      const { maskAt, pendingAt } = msi;
      this.#msi = { at: placed, maskAt: placed + maskAt, pendingAt: placed + pendingAt };
    }
    for (const payload of spec.vendorCapabilities ?? []) add(vendorCapability(payload));
    if (at > PCI_STD_HEADER_SIZEOF) this.#bytes[PCI_STATUS] = PCI_STATUS_CAP_LIST;
  }

  #checkRange(offsetBytes: number, lengthBytes: number): void {
    const isExact = Number.isInteger(offsetBytes) && Number.isInteger(lengthBytes);
    if (isExact && offsetBytes >= 0 && lengthBytes >= 0) {
      if (offsetBytes + lengthBytes <= PCI_CFG_SPACE_SIZE) return;
    }
    const detail = `${lengthBytes} bytes at ${offsetBytes} of the configuration space`;
    throw new LessorError('INVALID_ARGUMENT', detail);
  }

  #msixFlags(): number {
    return this.#msixAt === 0 ? 0 : this.#u16(this.#msixAt + PCI_MSIX_FLAGS);
  }

  #msiFlags(): number {
    return this.#msi === undefined ? 0 : this.#u16(this.#msi.at + PCI_MSI_FLAGS);
  }

  #u16(at: number): number {
    return this.#view.getUint16(at, true);
  }

  #put16(at: number, value: number): void {
    assert(Number.isInteger(value) && value >= 0 && value <= 0xffff, `${value} at ${at}`);
    this.#view.setUint16(at, value, true);
  }
}

function changeOf(before: number, after: number): CommandChange {
  const changed = before ^ after;
  if (changed === 0) return noChange;
  const memory = { memoryEnabled: (after & PCI_COMMAND_MEMORY) !== 0 };
  const master = { busMaster: (after & PCI_COMMAND_MASTER) !== 0 };
  return {
    ...((changed & PCI_COMMAND_MEMORY) !== 0 ? memory : {}),
    ...((changed & PCI_COMMAND_MASTER) !== 0 ? master : {}),
  };
}

function msixCapability(vectorCount: number, msix: NonNullable<DeviceConfig['msix']>): Uint8Array {
  const { region, tableOffset, pbaOffset } = msix;
  assert(vectorCount >= 1 && vectorCount <= msixVectorsMax, `${vectorCount} MSI-X vectors`);
  assert(region >= 0 && region < 6, `MSI-X table in region ${region}`);
  assert(tableOffset % 8 === 0 && pbaOffset % 8 === 0, 'MSI-X table or PBA is not aligned');
  const bytes = new Uint8Array(PCI_CAP_MSIX_SIZEOF);
  const view = new DataView(bytes.buffer);
  bytes[0] = PCI_CAP_ID_MSIX;
  view.setUint16(PCI_MSIX_FLAGS, vectorCount - 1, true);
  view.setUint32(4, tableOffset + region, true);
  view.setUint32(8, pbaOffset + region, true);
  return bytes;
}

function vendorCapability(payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(vendorHeaderBytes + payload.length);
  bytes.set([PCI_CAP_ID_VNDR, 0, bytes.length]);
  bytes.set(payload, vendorHeaderBytes);
  return bytes;
}
