// What an open device of the kernel is, in the words of PciFunction. Pure.
import { limits } from '../../base/limits.js';
import type { DeviceFacts } from '../../iommu/kernel/worker-messages.js';
import { reachOf } from '../../iommu/space-share.js';
import { VFIO_PCI_BAR5_REGION_INDEX } from '../../uapi/vfio.js';
import { identityOf, msixOf } from '../config-facts.js';
import type { FunctionInfo } from '../types.js';
import { type DmaBufOffer, mappableRegions, windowTraits } from './dma-buf-offer.js';
import type { ReservedIovas } from './reserved-iovas.js';
import type { VfioRegion } from './types.js';

export interface FactsOptions {
  readonly name: string;
  readonly regions: ReadonlyMap<number, VfioRegion>;
  /** The first 256 bytes of configuration space. */
  readonly config: Uint8Array;
  /** What the IOMMU gives the device. */
  readonly iommu: DeviceFacts;
  readonly reservedIovas: readonly ReservedIovas[];
  readonly vectorCount: number;
  /** What the kernel does with the device's dma-bufs. */
  readonly offer: DmaBufOffer;
  readonly epoch: number;
}

/**
 * Judges and describes a function.
 *
 * @throws ProtocolError when it contradicts itself
 */
export function describeFunction(options: FactsOptions): FunctionInfo {
  const { name, config, iommu, epoch } = options;
  const mappable = mappableRegions(options, options.offer);
  const regions = [...options.regions.values()]
    .filter(({ index }) => index <= VFIO_PCI_BAR5_REGION_INDEX)
    .map((region) => ({
      index: region.index,
      lengthBytes: region.lengthBytes,
      mappable: mappable.has(region.index),
      ...(region.mappable.length === 0 ? {} : { deviceAreas: region.mappable }),
    }));
  const { pageBytes, start, end } = reachOf(iommu);
  return {
    name,
    underside: 'vfio',
    ...identityOf(config),
    regions,
    vectorCount: Math.min(options.vectorCount, limits.vectorsPerLeaseMax),
    reserved: msixOf(config, regions)?.reserved ?? [],
    pasidBits: iommu.pasidBits,
    iovaPageBytes: pageBytes,
    aperture: { start, end },
    reservedIovas: options.reservedIovas,
    windows: windowTraits(options.offer),
    epoch,
  };
}
