// What an IOMMU does for one device: addresses, page sizes, features, formats of data. Everything
// that differs between hardware is here, so that the rules of iommufd are the same for all.
import { iovaEnd } from '../../base/units.js';
import { IOMMU_HWPT_ALLOC_DIRTY_TRACKING, IOMMU_HWPT_ALLOC_PASID } from '../../uapi/iommufd.js';
import type { HwptInvalidateResult, IovaRange, UserBytes } from '../requests.js';
import type { SmallestPage } from './table-shape.js';

/** Why no map may be there. Those that the device's driver can do without are not enforced. */
export type ReservedKind = 'direct' | 'direct-relaxable' | 'reserved' | 'msi' | 'sw-msi';

export interface ReservedRange extends IovaRange {
  readonly kind: ReservedKind;
}

/** A page table that an IOMMU made, as the others see whether they can use it. */
export interface TableFormat {
  /** Who made it. */
  readonly driver: string;
  /** Addresses that can be mapped. */
  readonly aperture: IovaRange;
  /** Smallest page that a map may be made of. */
  readonly pageBytes: number;
  /** What one lowest entry of the table covers; at most `pageBytes`. */
  readonly leafBytes: SmallestPage;
  readonly hasDirtyTracking: boolean;
  /** Bit n: leaves of 2^n bytes. Default 4 KiB, 2 MiB and 1 GiB. */
  readonly leafSizes?: bigint;
  /** False: a device can bypass the caches of the CPUs. Default true. */
  readonly enforcesCoherency?: boolean;
}

/** Data of a hardware type, in the memory of whoever calls. */
export interface TypedData {
  readonly dataType: number;
  readonly bytes: UserBytes;
}

/** A guest's own tables, in front of a nest parent. What they say is the hardware's business. */
export interface NestedTable {
  /** Absent: there is nothing to invalidate, and HWPT_INVALIDATE is `EOPNOTSUPP`. */
  invalidate?(request: NestedInvalidation): HwptInvalidateResult;
}

export interface NestedInvalidation {
  readonly dataType: number;
  readonly entryLen: number;
  readonly entryNum: number;
  readonly entries: UserBytes;
}

export interface HwInfoData {
  readonly dataType: number;
  readonly data: Uint8Array;
}

export interface UnitTraits {
  /** Tables of another driver are refused. */
  readonly driver: string;
  /** Width of the PASIDs that the device can send; 0: none. */
  readonly pasidBits: number;
  /** Ranges that no map may use while the plain requester id is attached. */
  readonly reserved: readonly ReservedRange[];
  /** Flags that HWPT_ALLOC takes for a page table of an IOAS, but for FAULT_ID_VALID. */
  readonly hwptFlags: number;
  readonly hasDirtyTracking: boolean;
  /** Sends page requests; without, a fault-capable HWPT is `ENODEV` at attach. */
  readonly hasPageRequests: boolean;
  /** Requests of PASIDs that are not attached go to a nested HWPT of the plain requester id. */
  readonly hasUserPasidTable: boolean;
  /** Bits of `out_capabilities` beside those that follow from the traits. */
  readonly capabilities: bigint;
  /** Undefined: type NONE and no data. */
  readonly hwInfo: HwInfoData | undefined;
  /** Of page tables made without data. */
  readonly format: TableFormat;
  /**
   * The format that data asks for. Absent: data for page tables of an IOAS is `EOPNOTSUPP`.
   *
   * @throws OsError `EOPNOTSUPP`, `EINVAL`, `EFAULT`
   */
  readonly formatOf?: (data: TypedData) => TableFormat;
  /**
   * Makes a nested table. Absent: nesting is `EOPNOTSUPP`.
   *
   * @throws OsError `EOPNOTSUPP`, `EINVAL`, `EFAULT`
   */
  readonly nest?: (data: TypedData, flags: number) => NestedTable;
  /**
   * Whether the hardware can translate by a table. Absent: by its own driver's with the same leaves
   * and no more addresses than its own, with dirty tracking only where it has that.
   */
  readonly accepts?: (format: TableFormat, pasid: number | undefined) => boolean;
  /**
   * Called when the hardware is set; undefined blocks. May refuse a table by throwing an OsError:
   * everything stays as it was.
   */
  readonly onProgram?: (format: TableFormat | undefined, pasid: number | undefined) => void;
}

/** What differs from a device without features, with 48 bits of address and pages of 4 KiB. */
export interface TraitOptions extends Partial<Omit<UnitTraits, 'format' | 'reserved'>> {
  readonly aperture?: IovaRange;
  readonly pageBytes?: SmallestPage;
  /** Without a kind: reserved. */
  readonly reserved?: readonly (IovaRange & { readonly kind?: ReservedKind })[];
}

/** Traits with the rest filled in: flags follow from features. */
export function createTraits(options: TraitOptions = {}): UnitTraits {
  const { aperture, pageBytes = 4096, reserved = [], ...given } = options;
  const { pasidBits = 0, hasDirtyTracking = false, driver = 'soft' } = given;
  let hwptFlags = 0;
  if (pasidBits > 0) hwptFlags |= IOMMU_HWPT_ALLOC_PASID;
  if (hasDirtyTracking) hwptFlags |= IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
  return {
    hwptFlags,
    hasPageRequests: false,
    hasUserPasidTable: false,
    capabilities: 0n,
    hwInfo: undefined,
    ...given,
    driver,
    pasidBits,
    hasDirtyTracking,
    reserved: reserved.map(({ start, last, kind = 'reserved' }) => ({ start, last, kind })),
    format: {
      driver,
      aperture: aperture ?? { start: 0n, last: BigInt(iovaEnd) - 1n },
      pageBytes,
      leafBytes: pageBytes,
      hasDirtyTracking: false,
    },
  };
}

/** Whether a unit's hardware can translate by a table. */
export function accepts(
  traits: UnitTraits,
  format: TableFormat,
  pasid: number | undefined,
): boolean {
  if (format.driver !== traits.driver) return false;
  if (format.leafBytes !== traits.format.leafBytes) return false;
  if (traits.accepts !== undefined) return traits.accepts(format, pasid);
  if (format.hasDirtyTracking && !traits.hasDirtyTracking) return false;
  const own = traits.format.aperture;
  return format.aperture.start >= own.start && format.aperture.last <= own.last;
}

/** Ranges that an attach of the plain requester id reserves. */
export function enforcedRanges(traits: UnitTraits): readonly IovaRange[] {
  return traits.reserved.filter(({ kind }) => kind !== 'direct-relaxable');
}
