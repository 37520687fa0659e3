// What a client gives to let the server reach its memory by message.

/**
 * Serves the DMA messages of a server, one at a time, in the order in which they came. An expected
 * error (LessorError, OsError, ProtocolError) is answered with its errno; any other is a bug of
 * the handler and ends the connection and, unless somebody catches it, the process.
 */
export interface DmaHandler {
  /**
   * @param iova - iova + lengthBytes is at most 2^64.
   * @param lengthBytes - 1 to the client's own `maxDataXferBytes`.
   * @returns Exactly `lengthBytes` bytes. They are copied before the next call.
   * @throws OsError `EFAULT` for memory that was not mapped, `EPERM` for memory not readable.
   */
  read(iova: bigint, lengthBytes: number): Uint8Array | Promise<Uint8Array>;
  /** @throws OsError as `read`, `EPERM` for memory not writable. */
  write(iova: bigint, bytes: Uint8Array): void | Promise<void>;
}
