// What a served device says of itself, in the words of PciFunction. All of it comes from another
// process and is judged before it is believed. Pure.
import { ProtocolError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { hex, iovaEnd } from '../../base/units.js';
import {
  VFIO_PCI_BAR5_REGION_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
} from '../../uapi/vfio.js';
import type { DeviceIdentity } from '../../vfio-user/reconnect-identity.js';
import { identityOf, msixOf } from '../config-facts.js';
import type { FunctionInfo } from '../types.js';
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

/**
 * Judges and describes a served device. Its vectors are those of MSI-X, else of MSI; INTx, which
 * needs an acknowledgement for each interrupt, is not used.
 *
 * @throws ProtocolError when it contradicts itself.
 */
export function describeDevice(options: FactsOptions): DeviceFacts {
  const { name, identity, config, pageSizes, hostPageBytes, epoch } = options;
  const identityFacts = identityOf(config);
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
  const info: FunctionInfo = {
    name,
    underside: 'vfio-user',
    ...identityFacts,
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
