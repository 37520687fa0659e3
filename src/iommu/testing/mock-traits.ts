// The traits of the mock devices that a kernel built for tests has: odd on purpose.
// @see linux drivers/iommu/iommufd/iommufd_test.h

import type { HwptInvalidateResult, UserBytes } from '../requests.js';
import { fail } from '../soft/objects.js';
import { createTraits, type TypedData, type UnitTraits } from '../soft/traits.js';

export const mockDataType = 0xdead;
export const mockInvalidateType = 0xdeadbeef;
const mockHwInfoType = 0xfeedbeef;
const iotlbCount = 4;
const nestParent = 1;
const dirtyTracking = 2;
const forPasids = 8;
const atsNotSupported = 8n;

/** What the mock's data says: a value for its IOTLB, and the kind of its page table. */
function readData({ dataType, bytes }: TypedData): {
  readonly iotlb: number;
  readonly kind: number;
} {
  if (dataType !== mockDataType) throw fail('EOPNOTSUPP', 'alloc', `data ${dataType}`);
  const view = readTwoWords(bytes, 0, bytes.length);
  return { iotlb: view[0], kind: view[1] };
}

/** A struct of two u32 of which the first was always there. */
function readTwoWords(bytes: UserBytes, start: number, length: number): [number, number] {
  if (length < 4 || length > 8) throw fail('EINVAL', 'copy', `${length} bytes`);
  const struct = new Uint8Array(8);
  struct.set(bytes.slice(start, start + length));
  const view = new DataView(struct.buffer);
  return [view.getUint32(0, true), view.getUint32(4, true)];
}

/** A nested table of the mock, with its IOTLB for whoever wants to look. */
export class MockNested {
  readonly iotlb: number[];

  constructor(value: number) {
    this.iotlb = Array.from({ length: iotlbCount }, () => value);
  }

  invalidate(request: {
    readonly dataType: number;
    readonly entryLen: number;
    readonly entryNum: number;
    readonly entries: UserBytes;
  }): HwptInvalidateResult {
    const { dataType, entryLen, entryNum, entries } = request;
    if (dataType !== mockInvalidateType) return { handledCount: 0, errno: 'EINVAL' };
    for (let index = 0; index < entryNum; index++) {
      try {
        this.#invalidateOne(entryLen, index, entries);
      } catch (error) {
        const { errno } = error as { readonly errno: HwptInvalidateResult['errno'] };
        return { handledCount: index, errno };
      }
    }
    return { handledCount: entryNum, errno: undefined };
  }

  #invalidateOne(entryLen: number, index: number, entries: UserBytes): void {
    if (entryLen !== 8) throw fail('EINVAL', 'copy', `${entryLen} bytes`);
    const [flags, id] = readTwoWords(entries, index * entryLen, entryLen);
    if ((flags & ~1) !== 0) throw fail('EOPNOTSUPP', 'invalidate', `flags ${flags}`);
    if (id >= iotlbCount) throw fail('EINVAL', 'invalidate', `entry ${id}`);
    if (flags === 1) this.iotlb.fill(0);
    else this.iotlb[id] = 0;
  }
}

export interface MockOptions {
  readonly hasPasids?: boolean;
  readonly hasDirtyTracking?: boolean;
  readonly onNested?: (table: MockNested) => void;
}

export function createMockTraits(options: MockOptions = {}): UnitTraits {
  const { hasPasids = true, hasDirtyTracking = true } = options;
  const test = new Uint8Array(new Uint32Array([0, 0xdeadbeef]).buffer);
  const traits = createTraits({
    driver: 'mock',
    pasidBits: hasPasids ? 20 : 0,
    aperture: { start: 2n ** 24n, last: 2n ** 31n - 1n },
    pageBytes: 2048,
    hwptFlags: nestParent | forPasids | (hasDirtyTracking ? dirtyTracking : 0),
    hasDirtyTracking,
    hasPageRequests: true,
    hasUserPasidTable: true,
    capabilities: atsNotSupported,
    hwInfo: { dataType: mockHwInfoType, data: test },
    // No look at addresses; PASIDs not even at dirty tracking.
    accepts: (format, pasid) => pasid !== undefined || hasDirtyTracking || !format.hasDirtyTracking,
    formatOf(data) {
      const { kind } = readData(data);
      if (kind > 1) throw fail('EOPNOTSUPP', 'alloc', `page table ${kind}`);
      if (kind === 0) return traits.format;
      // Huge pages, and those of 4 KiB because iommufd wants them.
      const aperture = { start: 0n, last: 2n ** 48n - 1n };
      return { ...traits.format, pageBytes: 4096, aperture };
    },
    nest(data) {
      const table = new MockNested(readData(data).iotlb);
      options.onNested?.(table);
      return table;
    },
  });
  return traits;
}
