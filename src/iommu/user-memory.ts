// Memory of the process that calls, by its addresses: where the pointers of a call lead.
import type { Fd } from '../os/fd.js';

export interface UserMemory {
  /** A copy of bytes that all lie there. @throws OsError `EFAULT` */
  read(address: bigint, lengthBytes: number): Uint8Array;
  /** Writes up to the first byte that may not be written. @throws OsError `EFAULT` for that one */
  write(address: bigint, data: Uint8Array): void;
}

/** Consecutive bytes of one memory object; whole pages. */
export interface MemoryPiece {
  /** Not owned. */
  readonly fd: Fd;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** Which memory objects stand behind the addresses of a process. */
export interface PinnableMemory {
  /**
   * The memory objects behind a range, for a device.
   *
   * @param address - With `lengthBytes`, whole pages.
   * @returns In ascending order, without a gap; undefined when a page of it is not there, or may
   *   not be written although `isWritable`.
   */
  resolve(
    address: bigint,
    lengthBytes: number,
    isWritable: boolean,
  ): readonly MemoryPiece[] | undefined;
}
