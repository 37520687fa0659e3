// What native/addon/files.c offers. Results below zero are -errno.

export interface FileCalls {
  /** open(2); O_CLOEXEC is added. No file is ever created. */
  open(path: string, flags: number): number;
  /** ioctl with a structure in place, or a number by value. */
  ioctl(fd: number, request: number, argument: Uint8Array | number): number;
  /** read(2). */
  read(fd: number, into: Uint8Array): number;
  /** write(2). */
  write(fd: number, bytes: Uint8Array): number;
  /** pread(2). */
  pread(fd: number, into: Uint8Array, offsetBytes: number): number;
  /** pwrite(2). */
  pwrite(fd: number, bytes: Uint8Array, offsetBytes: number): number;
  /** poll(2) of one descriptor, without waiting. @returns Which events there are. */
  pollNow(fd: number, events: number): number;
  /** Where the first byte lies in this process. */
  addressOf(bytes: ArrayBufferView | ArrayBuffer): number;
  /** getdents64. @returns Bytes written to `into`; 0 at the end. */
  directoryEntries(fd: number, into: Uint8Array): number;
}
