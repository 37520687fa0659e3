// What a served device says of itself, in the words of PciFunction. All of it comes from another
// process and is judged before it is believed. Pure.
import { ProtocolError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { hex, iovaEnd } from '../../base/units.js';
import {
  PCI_CAP_ID_MSIX,
  PCI_CFG_SPACE_SIZE,
  PCI_CLASS_REVISION,
  PCI_DEVICE_ID,
  PCI_SUBSYSTEM_ID,
  PCI_SUBSYSTEM_VENDOR_ID,
  PCI_VENDOR_ID,
} from '../../device/config-space.js';
import { listCapabilities } from '../../device/config-space-capabilities.js';
import { u16, u32 } from '../../uapi/struct.js';
import {
  VFIO_PCI_BAR5_REGION_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
} from '../../uapi/vfio.js';
import type { DeviceIdentity } from '../../vfio-user/reconnect-identity.js';
import type { FunctionInfo, RegionInfo, RegionRange } from '../types.js';
import type { WindowOffer } from './window-region.js';
import { windowIovaStart } from './window-slots.js';

export interface DeviceFacts {
  readonly info: FunctionInfo;
  /** Index of SET_IRQS that stands for the function's vectors. */
  readonly irqIndex: number;
}

export interface FactsOptions {
  readonly name: string;
  readonly identity: DeviceIdentity;
  /** The first 256 bytes of configuration space. */
  readonly config: Uint8Array;
  /** What the server said it can map: one bit for each granularity. */
  readonly pageSizes: bigint;
  /** Of this machine: the server maps descriptors in pages. */
  readonly hostPageBytes: number;
  readonly epoch: number;
}

const msixTableSizeMask = 0x7ff;
const barIndexMask = 0x7;
const tableEntryBytes = 16;
const pbaWordBytes = 8;

/** Bits 12 to 30 of a mask of page sizes: what any IOMMU has. */
function iovaPageBytes(pageSizes: bigint, hostPageBytes: number): number {
  for (let bytes = hostPageBytes; bytes <= 2 ** 30; bytes *= 2) {
    if ((pageSizes & BigInt(bytes)) !== 0n) return bytes;
  }
  // Pages finer than the host's are mapped in those of the host.
  if ((pageSizes & BigInt(hostPageBytes - 1)) !== 0n) return hostPageBytes;
  const detail = `page sizes ${hex(pageSizes)} do not suit pages of ${hostPageBytes} bytes`;
  throw new ProtocolError('vfio_user_version.pgsizes', 0, detail);
}

interface Msix {
  readonly vectorCount: number;
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

function msixOf(config: Uint8Array, regions: readonly RegionInfo[]): Msix | undefined {
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

/**
 * Judges and describes a served device. Its vectors are those of MSI-X, else of MSI; INTx, which
 * needs an acknowledgement for each interrupt, is not used.
 *
 * @throws ProtocolError when it contradicts itself.
 */
export function describeDevice(options: FactsOptions): DeviceFacts {
  const { name, identity, config, pageSizes, hostPageBytes, epoch } = options;
  if (config.length < PCI_CFG_SPACE_SIZE) {
    throw new ProtocolError('pci_config', config.length, `${config.length} bytes`);
  }
  const regions = identity.regions.flatMap(({ lengthBytes }, index) =>
    index > VFIO_PCI_BAR5_REGION_INDEX || lengthBytes === 0
      ? []
      : [{ index, lengthBytes, mappable: false }],
  );
  const msix = msixOf(config, regions);
  const hasMsix = msix !== undefined && (identity.irqCounts[VFIO_PCI_MSIX_IRQ_INDEX] ?? 0) > 0;
  const irqIndex = hasMsix ? VFIO_PCI_MSIX_IRQ_INDEX : VFIO_PCI_MSI_IRQ_INDEX;
  const offered = identity.irqCounts[irqIndex] ?? 0;
  const vectorCount = Math.min(
    offered,
    hasMsix ? msix.vectorCount : offered,
    limits.vectorsPerLeaseMax,
  );
  const classRevision = u32.read(config, PCI_CLASS_REVISION, 'config');
  const info: FunctionInfo = {
    name,
    underside: 'vfio-user',
    vendorId: u16.read(config, PCI_VENDOR_ID, 'config'),
    deviceId: u16.read(config, PCI_DEVICE_ID, 'config'),
    subsystemVendorId: u16.read(config, PCI_SUBSYSTEM_VENDOR_ID, 'config'),
    subsystemId: u16.read(config, PCI_SUBSYSTEM_ID, 'config'),
    classCode: classRevision >>> 8,
    revisionId: classRevision & 0xff,
    regions,
    vectorCount,
    reserved: msix?.reserved ?? [],
    pasidBits: 0,
    iovaPageBytes: iovaPageBytes(pageSizes, hostPageBytes),
    aperture: { start: 0, end: iovaEnd },
    epoch,
  };
  return { info, irqIndex };
}

/** The facts of a device whose windows can have memory: regions with frames, a place for it. */
export function withWindows(facts: DeviceFacts, { places }: WindowOffer): DeviceFacts {
  const { info } = facts;
  const regions = info.regions.map((region) => ({
    ...region,
    mappable: places.some((place) => place.region === region.index),
  }));
  const aperture = { ...info.aperture, end: windowIovaStart };
  return { ...facts, info: { ...info, regions, aperture } };
}
