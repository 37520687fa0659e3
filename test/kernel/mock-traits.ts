// What the kernel's mock device can do. @see linux drivers/iommu/iommufd/iommufd_test.h
import { OsError } from '../../src/base/errors.js';
import {
  createTraits,
  type NestedTable,
  type TypedData,
  type UnitTraits,
} from '../../src/iommu/soft/traits.js';
import {
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_NEST_PARENT,
  IOMMU_HWPT_ALLOC_PASID,
} from '../../src/uapi/iommufd.js';
import { StructBytes, u32At } from './struct-bytes.js';

export const mockDriver = 'mock';
export const mockFlags = { noDirty: 1, pasid: 4 } as const;

const aperture = { start: 0x100_0000n, last: 0x7fff_ffffn };
const pasidBits = 20;
/** Every power of two from 2 KiB to 64 GiB. */
const leafSizes = 0x1f_ffff_f800n;
const hwInfoType = 0xfeed_beef;
const hwInfoValue = 0xdead_beef;
const dataType = 0xdead;
const invalidateType = 0xdead_beef;
const invalidateAll = 1;
const iotlbCount = 4;
/** IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED. */
const noAts = 8n;

export interface MockTable extends NestedTable {
  readonly iotlb: Uint32Array;
}

/** @param flags - Of MOCK_DOMAIN_FLAGS. */
export function mockTraits(flags: number): UnitTraits {
  const hasDirtyTracking = (flags & mockFlags.noDirty) === 0;
  const traits = createTraits({
    driver: mockDriver,
    aperture,
    pageBytes: 2048,
    pasidBits: (flags & mockFlags.pasid) === 0 ? 0 : pasidBits,
    hasDirtyTracking,
    hasPageRequests: true,
    hasUserPasidTable: true,
    // Also where the device has no PASIDs.
    hwptFlags:
      IOMMU_HWPT_ALLOC_DIRTY_TRACKING | IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_PASID,
    capabilities: noAts,
    hwInfo: {
      dataType: hwInfoType,
      data: new StructBytes(8).u32(4, hwInfoValue).bytes,
    },
    nest: (data) => createTable(readData(data).iotlb),
    // The mock looks at this for the plain requester id only.
    accepts: (format, pasid) => {
      return pasid !== undefined || hasDirtyTracking || !format.hasDirtyTracking;
    },
  });
  const format = { ...traits.format, leafSizes, enforcesCoherency: false };
  return {
    ...traits,
    format,
    formatOf: (data) => {
      if (readData(data).table !== 0) throw fail('EOPNOTSUPP', 'table');
      return format;
    },
  };
}

/** struct iommu_hwpt_selftest: of 4 or 8 bytes, or between. */
function readData({ dataType: type, bytes }: TypedData): { iotlb: number; table: number } {
  if (type !== dataType) throw fail('EOPNOTSUPP', 'type');
  if (bytes.length < 4 || bytes.length > 8) throw fail('EINVAL', 'length');
  const struct = new Uint8Array(8);
  struct.set(bytes.slice(0, bytes.length));
  return { iotlb: u32At(struct, 0), table: u32At(struct, 4) };
}

function createTable(value: number): MockTable {
  const iotlb = new Uint32Array(iotlbCount).fill(value);
  return {
    iotlb,
    invalidate({ dataType: type, entryLen, entryNum, entries }) {
      if (type !== invalidateType) return { handledCount: 0, errno: 'EINVAL' };
      for (let index = 0; index < entryNum; index++) {
        try {
          invalidateOne(iotlb, entryLen, () =>
            entries.slice(index * entryLen, (index + 1) * entryLen),
          );
        } catch (error) {
          if (!(error instanceof OsError)) throw error;
          return { handledCount: index, errno: error.errno };
        }
      }
      return { handledCount: entryNum, errno: undefined };
    },
  };
}

/** struct iommu_hwpt_invalidate_selftest: flags, and which entry. */
function invalidateOne(iotlb: Uint32Array, entryLen: number, read: () => Uint8Array): void {
  if (entryLen !== 8) throw fail('EINVAL', 'entry length');
  const entry = read();
  const flags = u32At(entry, 0);
  const index = u32At(entry, 4);
  if ((flags & ~invalidateAll) !== 0) throw fail('EOPNOTSUPP', 'entry flags');
  if (index >= iotlbCount) throw fail('EINVAL', 'entry id');
  if ((flags & invalidateAll) !== 0) iotlb.fill(0);
  else iotlb[index] = 0;
}

function fail(errno: OsError['errno'], detail: string): OsError {
  return new OsError(errno, 'mock', detail);
}
