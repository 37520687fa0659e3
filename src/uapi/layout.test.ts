// Request numbers and offsets pinned by hand; a compiler checks the rest elsewhere.
import { describe, expect, it } from 'vitest';
import * as iommufd from './iommufd.js';
import type { Struct } from './struct.js';
import * as vfio from './vfio.js';
import * as vfioUser from './vfio-user.js';

type Described = Pick<Struct<unknown>, 'name' | 'sizeBytes' | 'offsets'>;

describe('layouts', () => {
  it.each([
    [vfio.VFIO_DEVICE_GET_INFO, 0x3b6b],
    [vfio.VFIO_DEVICE_SET_IRQS, 0x3b6e],
    [vfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT, 0x3b77],
    [iommufd.IOMMU_DESTROY, 0x3b80],
    [iommufd.IOMMU_IOAS_UNMAP, 0x3b86],
    [iommufd.IOMMU_HWPT_ALLOC, 0x3b89],
    [iommufd.IOMMU_IOAS_MAP_FILE, 0x3b8f],
  ])('ioctl %i is %i', (value, pinned) => {
    expect(value).toBe(pinned);
  });

  it.each([
    [iommufd.iommuIoasMap, 40, 'iova', 32],
    [iommufd.iommuIoasMapFile, 40, 'fd', 12],
    [iommufd.iommuIoasUnmap, 24, 'length', 16],
    [iommufd.iommuIoasIovaRanges, 32, 'allowed_iovas', 16],
    [iommufd.iommuHwptAlloc, 48, 'fault_id', 40],
    [vfio.vfioDeviceInfo, 24, 'cap_offset', 16],
    [vfio.vfioRegionInfo, 32, 'offset', 24],
    [vfio.vfioIrqSet, 20, 'count', 16],
    [vfioUser.header, 16, 'errno', 12],
    [vfioUser.dmaMap, 32, 'address', 16],
    [vfioUser.dmaUnmap, 24, 'size', 16],
    [vfioUser.regionAccess, 16, 'region', 8],
    [vfioUser.dmaAccess, 16, 'count', 8],
    [vfioUser.ioFdEntry, 40, 'datamatch', 32],
  ] as [Described, number, string, number][])('%o', (codec, sizeBytes, field, offset) => {
    expect(codec.sizeBytes).toBe(sizeBytes);
    expect(codec.offsets[field]).toBe(offset);
  });
});
