// What the calls of an iommufd take and give. Structure sizes, reserved fields and pointers are the
// codec's. Addresses and lengths are exact u64. @see linux/iommufd.h
import type { OsError } from '../base/errors.js';
import type { Fd } from '../os/fd.js';
import type { DmaAccount, RevocableWindow } from './types.js';

export const u64Max = 0xffff_ffff_ffff_ffffn;

/** Bytes that a call looks at only when it comes to them; a Uint8Array is one. */
export interface UserBytes {
  readonly length: number;
  /** A copy of [start, end). @throws OsError `EFAULT` */
  slice(start: number, end: number): Uint8Array;
}

/** Bits that a call sets, where it comes to them. */
export interface UserBits {
  /** Sets consecutive bits, lowest bit of a byte first; what cannot be written is left out. */
  set(firstBit: bigint, bitCount: bigint): void;
}

/** Both ends are inside. */
export interface IovaRange {
  readonly start: bigint;
  readonly last: bigint;
}

export interface MapFileRequest {
  readonly flags: number;
  readonly ioasId: number;
  /** Not owned. */
  readonly fd: Fd;
  /** Byte offset in the file. */
  readonly start: bigint;
  readonly length: bigint;
  /** Where, with FIXED_IOVA; else ignored but for one check. */
  readonly iova: bigint;
  /** Who pays for what gets pinned; the kernel charges the process instead. */
  readonly account?: DmaAccount | undefined;
}

/** A map at a fixed IOVA whose whole numbers are at most 2^53, and its flags but for FIXED_IOVA. */
export interface LowMapRequest {
  readonly flags: number;
  readonly ioasId: number;
  /** Not owned. Absent: memory that only messages reach, as `ioasMapUnreachable`. */
  readonly fd: Fd | undefined;
  /** Byte offset in the file. */
  readonly start: number;
  readonly length: number;
  readonly iova: number;
  readonly account: DmaAccount | undefined;
}

/** A window at a fixed IOVA; numbers as in `LowMapRequest`. */
export interface WindowMapRequest {
  readonly flags: number;
  readonly ioasId: number;
  readonly window: RevocableWindow;
  /** Byte offset in the window. */
  readonly start: number;
  readonly length: number;
  readonly iova: number;
  readonly account: DmaAccount | undefined;
}

export interface UnmapRequest {
  readonly ioasId: number;
  readonly iova: bigint;
  readonly length: bigint;
}

export interface IovaRangesResult {
  /** At most as many as asked for. */
  readonly ranges: readonly IovaRange[];
  /** How many there are. */
  readonly rangeCount: number;
  readonly alignment: bigint;
  /** Set when there are more than asked for; the rest of the result is valid. */
  readonly errno: 'EMSGSIZE' | undefined;
}

/** Memory of the calling process. */
export interface MapRequest {
  readonly flags: number;
  readonly ioasId: number;
  /** Address of the first byte. */
  readonly userVa: bigint;
  readonly length: bigint;
  /** Where, with FIXED_IOVA; else ignored but for one check. */
  readonly iova: bigint;
  readonly account?: DmaAccount | undefined;
}

/** Areas, or parts of them, made reachable at a second place; their memory is charged once. */
export interface CopyRequest {
  readonly flags: number;
  readonly dstIoasId: number;
  readonly srcIoasId: number;
  readonly length: bigint;
  readonly dstIova: bigint;
  readonly srcIova: bigint;
  readonly account?: DmaAccount | undefined;
}

export interface OptionRequest {
  readonly optionId: number;
  readonly op: number;
  readonly objectId: number;
  /** What to set; ignored by a get. */
  readonly value: bigint;
}

export interface VfioIoasRequest {
  readonly op: number;
  readonly ioasId: number;
}

export interface HwptAllocRequest {
  readonly flags: number;
  readonly devId: number;
  /** An IOAS makes a paging HWPT, a nest parent a nested one. */
  readonly ptId: number;
  readonly dataType?: number;
  /** What a driver of the type wants to know; copied. */
  readonly data?: UserBytes;
  /** Looked at with FAULT_ID_VALID. */
  readonly faultId?: number;
}

export interface HwptInvalidateRequest {
  readonly hwptId: number;
  readonly dataType: number;
  /** Bytes of one entry. */
  readonly entryLen: number;
  readonly entryNum: number;
  /** The entries, one after the other; absent: a null pointer. */
  readonly data: UserBytes | undefined;
}

export interface HwptInvalidateResult {
  /** Valid also when there is an errno. */
  readonly handledCount: number;
  readonly errno: OsError['errno'] | undefined;
}

export interface HwInfoRequest {
  readonly flags: number;
  readonly devId: number;
  /** Looked at with INPUT_TYPE. */
  readonly dataType: number;
  /** At most so many bytes of type-specific data. */
  readonly dataLenMax: number;
}

export interface HwInfo {
  readonly dataType: number;
  /** Bytes that the data has in full; `data` holds the first of them. */
  readonly dataLen: number;
  readonly data: Uint8Array;
  /** 0: no PASIDs. */
  readonly maxPasidLog2: number;
  readonly capabilities: bigint;
}

export interface SetDirtyTrackingRequest {
  readonly flags: number;
  readonly hwptId: number;
}

export interface DirtyBitmapRequest {
  readonly flags: number;
  readonly hwptId: number;
  readonly iova: bigint;
  readonly length: bigint;
  /** Bytes for which one bit stands. */
  readonly pageSize: bigint;
  /** Bits are set in it, lowest bit first, and never cleared. */
  readonly bitmap: Uint8Array | UserBits;
}

/** One legacy type1 map. @see linux/vfio.h vfio_iommu_type1_dma_map */
export interface DmaMapRequest {
  readonly flags: number;
  /** Address in the calling process. */
  readonly vaddr: bigint;
  readonly iova: bigint;
  readonly size: bigint;
}

/** @see linux/vfio.h vfio_iommu_type1_dma_unmap */
export interface DmaUnmapRequest {
  readonly flags: number;
  readonly iova: bigint;
  readonly size: bigint;
}

export interface DmaUnmapResult {
  /** Bytes removed, also before an area that sticks out. */
  readonly size: bigint;
  readonly errno: OsError['errno'] | undefined;
}

/** @see linux/vfio.h vfio_iommu_type1_info and its capabilities */
export interface ContainerInfo {
  /** Bit n: pages of 2^n bytes. */
  readonly pageSizes: bigint;
  readonly iovaRanges: readonly IovaRange[];
  /** How many more maps fit. */
  readonly mapsAvailable: number;
}
