// What a device's description says in the words of PciFunction. Pure.
import { iovaEnd } from '../../base/units.js';
import type { FunctionInfo, RegionRange } from '../types.js';
import { pasidBitsMax } from './function-iommu.js';
import type { DeviceDescription } from './worker-messages.js';

/** Bytes of one MSI-X table entry; one PBA bit per vector, in 8-byte words. */
const tableEntryBytes = 16;

/** The ranges that no window may touch: MSI-X table and PBA. */
export function reservedRanges(description: DeviceDescription): RegionRange[] {
  const { msix, vectorCount } = description.config;
  if (!msix) return [];
  return [
    {
      region: msix.region,
      offsetBytes: msix.tableOffset,
      lengthBytes: vectorCount * tableEntryBytes,
    },
    {
      region: msix.region,
      offsetBytes: msix.pbaOffset,
      lengthBytes: Math.ceil(vectorCount / 64) * 8,
    },
  ];
}

/** The function that this device is. */
export function functionInfo(
  name: string,
  description: DeviceDescription,
  epoch: number,
): FunctionInfo {
  const { config, regions } = description;
  return {
    name,
    underside: 'emulated',
    vendorId: config.vendorId,
    deviceId: config.deviceId,
    subsystemVendorId: config.subsystemVendorId,
    subsystemId: config.subsystemId,
    classCode: config.classCode,
    revisionId: config.revisionId,
    regions: regions.map((region) => ({
      index: region.index,
      lengthBytes: region.lengthBytes,
      mappable: (region.frames ?? []).length > 0,
    })),
    vectorCount: config.vectorCount,
    reserved: reservedRanges(description),
    pasidBits: Math.min(config.pasidBits, pasidBitsMax),
    iovaPageBytes: 4096,
    aperture: { start: 0, end: iovaEnd },
    epoch,
  };
}
