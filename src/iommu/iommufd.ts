// iommufd as a program sees it: synchronous, shaped like the ioctls, exact in its errnos. Soft and
// kernel implementations stand behind it. Structure sizes and reserved fields are the codec's.
//
// All calls throw OsError with the errno that Linux gives. Addresses and lengths are exact u64.
import type { Fd } from '../os/fd.js';
import type { DmaAccount } from './types.js';

/** Flags of maps, @see linux/iommufd.h */
export const IOMMU_IOAS_MAP_FIXED_IOVA = 1;
export const IOMMU_IOAS_MAP_WRITEABLE = 2;
export const IOMMU_IOAS_MAP_READABLE = 4;
/** Flag of `hwptAlloc`. */
export const IOMMU_HWPT_ALLOC_PASID = 8;

export const u64Max = 0xffff_ffff_ffff_ffffn;

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

export interface HwptAllocRequest {
  readonly flags: number;
  readonly devId: number;
  readonly ptId: number;
}

/** A mapping whose memory was truncated by its owner. */
export interface MemoryGone {
  readonly ioasId: number;
  readonly iova: bigint;
  readonly length: bigint;
}

/** A device bound to the context; closing ends all its DMA. @see linux/vfio.h */
export interface IommuDevice extends Disposable {
  /** Object id in the context. */
  readonly id: number;
  /** Width of the PASIDs it can send; 0: none. */
  readonly pasidBits: number;
  /** Addresses it can send. */
  readonly aperture: IovaRange;
  /** Smallest page of its page tables. */
  readonly pageBytes: number;
  /**
   * Attaches, or replaces without a gap, keeping the old state when it fails.
   *
   * @param ptId - An IOAS or HWPT. @param pasid - undefined: the plain requester id.
   * @returns The id of the HWPT that is used.
   * @throws OsError `ENOENT`, `EINVAL`, `EADDRINUSE`, `EOPNOTSUPP`, `ENOMEM`
   */
  attach(ptId: number, pasid?: number): number;
  /** Detaches; DMA is blocked. Without an attachment it does nothing. */
  detach(pasid?: number): void;
  /** Detaches everything and gives up the object. */
  close(): void;
}

export interface Iommufd extends Disposable {
  /** @throws OsError `EOPNOTSUPP` */
  ioasAlloc(flags?: number): number;
  /** What a map may use. @throws OsError `ENOENT` */
  ioasIovaRanges(ioasId: number, rangesMax: number): IovaRangesResult;
  /** Replaces the list of ranges for automatic placement. @throws OsError */
  ioasAllowIovas(ioasId: number, ranges: readonly IovaRange[]): void;
  /**
   * Maps a file. All or nothing.
   *
   * @returns The IOVA.
   * @throws OsError; its `cause` may be a LessorError that says more.
   */
  ioasMapFile(request: MapFileRequest): bigint;
  /**
   * Unmaps every area inside a range. Areas before one that sticks out stay unmapped (as in Linux).
   * The device may use them until `settled`.
   *
   * @returns Bytes removed.
   */
  ioasUnmap(request: UnmapRequest): bigint;
  /** @throws OsError */
  hwptAlloc(request: HwptAllocRequest): number;
  /** @throws OsError `ENOENT`, `EBUSY` */
  destroy(id: number): void;
  /**
   * Resolves when no device can use what was removed before this call; at once in the kernel.
   *
   * @throws LessorError `DEADLINE_EXCEEDED`: the device must be reset.
   */
  settled(): Promise<void>;
  /**
   * Maps memory that only messages reach: it blocks its IOVA, and DMA there faults as not
   * reachable. Absent where the IOMMU has no such entries.
   */
  ioasMapUnreachable?(request: Omit<MapFileRequest, 'fd' | 'start'>): bigint;
  /**
   * As `ioasMapFile` and `ioasMapUnreachable`, without bigints. Absent, with `ioasUnmapLow`, where
   * that saves nothing.
   */
  ioasMapLow?(request: LowMapRequest): void;
  /** As `ioasUnmap`, without bigints. */
  ioasUnmapLow?(ioasId: number, iova: number, lengthBytes: number): void;
  /** Calls back for mappings whose memory was truncated. */
  onMemoryGone(listener: (event: MemoryGone) => void): Disposable;
}
