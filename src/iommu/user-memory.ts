// Memory of the process that calls, by its addresses: where the pointers of a call lead.

export interface UserMemory {
  /** A copy of bytes that all lie there. @throws OsError `EFAULT` */
  read(address: bigint, lengthBytes: number): Uint8Array;
  /** Writes up to the first byte that may not be written. @throws OsError `EFAULT` for that one */
  write(address: bigint, data: Uint8Array): void;
}
