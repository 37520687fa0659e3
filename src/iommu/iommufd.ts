// iommufd as a program sees it: synchronous, shaped like the ioctls, exact in its errnos. Soft and
// kernel implementations stand behind it.
//
// All calls throw OsError with the errno that Linux gives.
import type {
  ContainerInfo,
  CopyRequest,
  DirtyBitmapRequest,
  DmaMapRequest,
  DmaUnmapRequest,
  DmaUnmapResult,
  HwInfo,
  HwInfoRequest,
  HwptAllocRequest,
  HwptInvalidateRequest,
  HwptInvalidateResult,
  IovaRange,
  IovaRangesResult,
  LowMapRequest,
  MapFileRequest,
  MapRequest,
  OptionRequest,
  SetDirtyTrackingRequest,
  UnmapRequest,
  VfioIoasRequest,
  WindowMapRequest,
} from './requests.js';

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

/** Page requests of devices and their answers, as the file of a fault queue. */
export interface FaultQueue extends Disposable {
  /**
   * Whole groups of `iommu_hwpt_pgfault` records; empty when none are pending. Never blocks.
   *
   * @param lengthBytes - What the caller has room for.
   * @throws OsError `ESPIPE` when it is no multiple of a record, `EINVAL` when a group does not fit
   */
  read(lengthBytes: number): Uint8Array;
  /**
   * Answers with `iommu_hwpt_page_response` records.
   *
   * @returns Bytes taken: fewer than given when a later record is refused.
   * @throws OsError `ESPIPE`, `EINVAL` for the first record
   */
  write(responses: Uint8Array): number;
  /** True when `read` has something. */
  isReadable(): boolean;
  /** Answers nothing: what is open stays so until the device leaves. */
  close(): void;
}

/** Calls that the address spaces of leases are made with: what stands in for an iommufd there. */
export interface SpaceCalls {
  /** @throws OsError `EOPNOTSUPP` */
  ioasAlloc(flags?: number): number;
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
   * Maps a window that this IOMMU has exported. Absent where a window is a dma-buf, which
   * `ioasMapFile` takes.
   *
   * @throws OsError `EINVAL` past its end, `EPERM` to write what may only be read, `ENODEV` once it
   *   is revoked; else as `ioasMapFile`.
   */
  ioasMapWindow?(request: WindowMapRequest): void;
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

/** Calls for address spaces beyond those that every lease needs. */
export interface IoasCalls {
  /** What a map may use. @throws OsError `ENOENT` */
  ioasIovaRanges(ioasId: number, rangesMax: number): IovaRangesResult;
  /**
   * Replaces the list of ranges for automatic placement, checking each as it comes.
   *
   * @throws OsError
   */
  ioasAllowIovas(ioasId: number, ranges: Iterable<IovaRange>): void;
  /**
   * Maps memory of the calling process. All or nothing.
   *
   * @returns The IOVA. @throws OsError
   */
  ioasMap(request: MapRequest): bigint;
  /** @returns The destination IOVA. @throws OsError */
  ioasCopy(request: CopyRequest): bigint;
  /** @returns The value, set or got. @throws OsError */
  option(request: OptionRequest): bigint;
  /** All file mappings of the context belong to the calling process from now on. @throws OsError */
  changeProcess(): void;
  /** @returns The id of the IOAS for container calls. @throws OsError */
  vfioIoas(request: VfioIoasRequest): number;
}

/** Calls for what devices see beyond an attach. */
export interface HwptCalls {
  /** @throws OsError `EOPNOTSUPP`, `ENOENT` */
  hwInfo(request: HwInfoRequest): HwInfo;
  /** Every refusal is in the result, with how many entries were handled before it. */
  hwptInvalidate(request: HwptInvalidateRequest): HwptInvalidateResult;
  /** @throws OsError `EOPNOTSUPP`, `ENOENT` */
  setDirtyTracking(request: SetDirtyTrackingRequest): void;
  /** Sets bits for what devices wrote, and forgets it unless NO_CLEAR. @throws OsError */
  getDirtyBitmap(request: DirtyBitmapRequest): void;
  /** @throws OsError `EOPNOTSUPP` */
  faultQueueAlloc(flags?: number): { readonly faultId: number; readonly queue: FaultQueue };
}

/** The legacy container, over the IOAS of `vfioIoas` or by the type1 driver. */
export interface VfioContainer {
  apiVersion(): number;
  /** 0: not supported. @throws OsError `ENODEV` */
  checkExtension(extension: number): number;
  /** @throws OsError `EINVAL`, `ENODEV` */
  setIommu(type: number): void;
  /** @throws OsError */
  mapDma(request: DmaMapRequest): void;
  /**
   * What was removed is reported also with an error of the removal itself.
   *
   * @throws OsError when nothing is reported
   */
  unmapDma(request: DmaUnmapRequest): DmaUnmapResult;
  /** @throws OsError `ENODEV` */
  containerInfo(): ContainerInfo;
}

/** All calls of one context. */
export interface Iommufd extends SpaceCalls, IoasCalls, HwptCalls, VfioContainer, Disposable {}
