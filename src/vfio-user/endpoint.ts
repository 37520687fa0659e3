// What stands behind the server: a device as vfio-user shows it. Implemented by whoever has
// something to show; the server has checked every range and count before it calls.
import type { Fd } from '../os/fd.js';
import type { RegionType, SparseArea } from '../uapi/region-caps.js';

export interface EndpointRegion {
  /** 0: the region is not there. */
  readonly lengthBytes: number;
  /** VFIO_REGION_INFO_FLAG_READ and _WRITE; an access without its flag is answered EPERM. */
  readonly flags: number;
  /** Parts that a client may map, when `regionFd` gives a descriptor. Absent: none. */
  readonly areas?: readonly SparseArea[];
  /** Where the region's first byte lies in the file of `regionFd`. Default 0. */
  readonly fdOffsetBytes?: number;
  /** What a region past the PCI ones (index 9 and up) is: VFIO_REGION_INFO_CAP_TYPE. */
  readonly type?: RegionType;
}

/** A descriptor by which a client reaches registers without a message (GET_REGION_IO_FDS). */
export interface RegionIoFd {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly kind: 'ioeventfd' | 'ioregionfd';
  /** As KVM_IOEVENTFD or KVM_SET_IOREGION takes them. */
  readonly flags: number;
  /** `datamatch` of an ioeventfd, `user_data` of an ioregionfd. */
  readonly data: bigint;
  /** A duplicate, or one of several entries that share the same object; the caller closes it. */
  readonly fd: Fd;
}

export interface EndpointIrq {
  readonly count: number;
  /** VFIO_IRQ_INFO_*. */
  readonly flags: number;
}

/** A checked DMA_MAP: iova + length and offset + length do not wrap, length is not 0. */
export interface DmaMapRequest {
  readonly iova: bigint;
  readonly lengthBytes: bigint;
  /** Offset in `fd`; meaningless without. */
  readonly offsetBytes: bigint;
  readonly readable: boolean;
  readonly writable: boolean;
  /** Absent: the memory is reached by message. */
  readonly fd?: Fd;
}

/** iova + length is at most 2^64, length is not 0. */
export interface DmaRange {
  readonly iova: bigint;
  readonly lengthBytes: bigint;
}

/** A checked SET_IRQS. Ranges lie within the count of the index. */
export type IrqChange =
  /** Eventfds for [start, start + fds.length), in place of what was bound there. */
  | {
      readonly action: 'bind';
      readonly index: number;
      readonly start: number;
      readonly fds: readonly Fd[];
    }
  | {
      readonly action: 'unbind';
      readonly index: number;
      readonly start: number;
      readonly count: number;
    }
  /** Unbinds all of the index. */
  | { readonly action: 'disable'; readonly index: number }
  | {
      readonly action: 'trigger' | 'mask' | 'unmask';
      readonly index: number;
      readonly vectors: readonly number[];
    };

/**
 * Eventfds to be signalled whenever vectors of [start, start + count) become masked, or unmasked,
 * in place of those given before; the first stands for `start`.
 */
export interface MaskEventChange {
  readonly on: 'mask' | 'unmask';
  readonly index: number;
  readonly start: number;
  readonly count: number;
  /** `count` of them; none: no more signals. */
  readonly fds: readonly Fd[];
}

/** VFIO_DEVICE_STATE_*, those that vfio-user uses. */
export type MigrationState = 'error' | 'stop' | 'running' | 'stop-copy' | 'resuming' | 'pre-copy';

/** A device whose state can be taken to another server. */
export interface EndpointMigration {
  /** The state can be read, in part, while the device runs. */
  readonly preCopy: boolean;
  /** Where a device is that an earlier client left behind. Default `running`. */
  readonly initialState?: MigrationState;
  /**
   * One arc of the state machine; called once for each. When it throws, the state is `error`,
   * which `reset` alone leaves, for `running`.
   */
  transition(from: MigrationState, to: MigrationState): void | Promise<void>;
  /** The next bytes of the state, at most `lengthBytes`; fewer: no more for now. */
  readData(lengthBytes: number): Uint8Array | Promise<Uint8Array>;
  /** Bytes of a state that `readData` gave elsewhere. They are hostile like any input. */
  writeData(bytes: Uint8Array): void | Promise<void>;
}

/**
 * What the device wrote by DMA, per page. Ranges and page sizes were checked: powers of two, a
 * bitmap within its limit, logging is on.
 */
export interface EndpointDirtyPages {
  /**
   * Starts with nothing dirty; no ranges: everything is logged.
   *
   * @param pageBytes - What the client would like.
   * @returns The page size in use, a power of two.
   */
  start(pageBytes: number, ranges: readonly DmaRange[]): number;
  stop(): void;
  /**
   * One bit for each page of the range, lowest first, in whole 64-bit words; cleared by reading.
   * When a DMA_UNMAP wants to know, this is called just before `dmaUnmap`, in the same turn.
   *
   * @param pageBytes - Any power of two, not only the one in use.
   * @throws OsError `ENOENT` for a range that is not mapped.
   */
  report(range: DmaRange, pageBytes: number): Uint8Array;
}

/**
 * The server's own requests to its client. A client such as QEMU serves them only after its own
 * pending request was answered: a handler that awaits one of them while such a client waits for
 * that handler's reply gets DEADLINE_EXCEEDED.
 */
export interface ClientMemory {
  /**
   * Reads memory of the client by message, in as many as its maximum needs. Whether it is mapped
   * is the endpoint's to know; a good client refuses what is not.
   *
   * @param lengthBytes - At most `limits.vfioUserDmaBytesMax`, less what is under way already.
   * @throws OsError with the client's errno; `ECANCELED` when a DMA_UNMAP or DEVICE_RESET of the
   *   client takes the range away, from its arrival until it was answered, or the connection was
   *   fenced or is over. LessorError `DEADLINE_EXCEEDED`, `QUEUE_FULL`, and `INVALID_ARGUMENT` for
   *   a range past 2^64.
   */
  dmaRead(iova: bigint, lengthBytes: number): Promise<Uint8Array>;
  /** Writes memory of the client by message. Copies `bytes` first. @see dmaRead */
  dmaWrite(iova: bigint, bytes: Uint8Array): Promise<void>;
}

/**
 * Methods run one at a time, in the order in which the requests arrived, each only after the one
 * before has settled. An expected error (LessorError, OsError, ProtocolError) is answered with its
 * errno; any other is our own bug: it ends the connection and goes to `onBug`.
 */
export interface VfioUserEndpoint {
  /** The version was negotiated; called once, before any other method. */
  opened?(client: ClientMemory): void;
  /** By index: 0-5 BARs, 6 ROM, 7 configuration space, 8 VGA, then those with a `type`. */
  readonly regions: readonly EndpointRegion[];
  /** By index: 0 INTx, 1 MSI, 2 MSI-X, 3 error, 4 request. */
  readonly irqs: readonly EndpointIrq[];
  /** A duplicate of what the region's areas are mapped from; the caller closes it. */
  regionFd(region: number): Fd | undefined;
  /** Absent: none. Descriptors of one object may come in several entries. */
  regionIoFds?(region: number): readonly RegionIoFd[];
  /** @returns Exactly `lengthBytes` bytes, at least one. */
  read(region: number, offsetBytes: number, lengthBytes: number): Uint8Array | Promise<Uint8Array>;
  /** @param noReply - The client does not wait for it and will not hear of an error. */
  write(
    region: number,
    offsetBytes: number,
    bytes: Uint8Array,
    noReply: boolean,
  ): void | Promise<void>;
  /** Takes ownership of `request.fd` in every outcome. In effect when it settles. */
  dmaMap(request: DmaMapRequest): void | Promise<void>;
  /**
   * Settles when the device can no longer reach the range. Messages of ours that touch it were
   * cancelled before.
   */
  dmaUnmap(range: DmaRange | 'all'): void | Promise<void>;
  /** Takes ownership of `change.fds` in every outcome. */
  setIrqs(change: IrqChange): void | Promise<void>;
  /** Takes ownership of `change.fds` in every outcome. Absent: nothing can be signalled so. */
  setMaskEvents?(change: MaskEventChange): void | Promise<void>;
  /** Absent: the device cannot be reset. */
  reset?(): void | Promise<void>;
  /** Absent: the device does not migrate. */
  readonly migration?: EndpointMigration;
  /** Absent: what the device writes is not tracked. */
  readonly dirtyPages?: EndpointDirtyPages;
  /**
   * The connection is over, called once, however it ended. A handler that is still running may
   * settle later; none is called any more.
   *
   * @param error - What broke it; undefined for end-of-file and for `close` on our side.
   */
  closed(error: Error | undefined): void;
}
