// What stands behind the server: a device as vfio-user shows it. Implemented by whoever has
// something to show; the server has checked every range and count before it calls.
import type { Fd } from '../os/fd.js';
import type { SparseArea } from '../uapi/region-caps.js';

export interface EndpointRegion {
  /** 0: the region is not there. */
  readonly lengthBytes: number;
  /** VFIO_REGION_INFO_FLAG_READ and _WRITE; an access without its flag is answered EPERM. */
  readonly flags: number;
  /** Parts that a client may map, when `regionFd` gives a descriptor. Absent: none. */
  readonly areas?: readonly SparseArea[];
  /** Where the region's first byte lies in the file of `regionFd`. Default 0. */
  readonly fdOffsetBytes?: number;
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
 * Methods run one at a time, in the order in which the requests arrived, each only after the one
 * before has settled. An expected error (LessorError, OsError, ProtocolError) is answered with its
 * errno; any other is our own bug: it ends the connection and goes to `onBug`.
 */
export interface VfioUserEndpoint {
  /** By index: 0-5 BARs, 6 ROM, 7 configuration space, 8 VGA. */
  readonly regions: readonly EndpointRegion[];
  /** By index: 0 INTx, 1 MSI, 2 MSI-X, 3 error, 4 request. */
  readonly irqs: readonly EndpointIrq[];
  /** A duplicate of what the region's areas are mapped from; the caller closes it. */
  regionFd(region: number): Fd | undefined;
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
  /** Settles when the device can no longer reach the range. */
  dmaUnmap(range: DmaRange | 'all'): void | Promise<void>;
  /** Takes ownership of `change.fds` in every outcome. */
  setIrqs(change: IrqChange): void | Promise<void>;
  /** Absent: the device cannot be reset. */
  reset?(): void | Promise<void>;
  /**
   * The connection is over, called once, however it ended. A handler that is still running may
   * settle later; none is called any more.
   *
   * @param error - What broke it; undefined for end-of-file and for `close` on our side.
   */
  closed(error: Error | undefined): void;
}
