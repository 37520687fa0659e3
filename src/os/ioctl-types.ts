// Device nodes: ioctl with a structure built by src/uapi, and the files that such calls give out.
import type { Fd } from './fd.js';

export interface IoctlOs {
  /**
   * @param argument - The structure, read and written in place; a number is passed by value.
   * @returns The non-negative result. @throws OsError
   */
  ioctl(fd: Fd, request: number, argument: Uint8Array | number): number;
  /** open(2) with O_CLOEXEC. @throws OsError */
  open(path: string, flags: number): Fd;
  /** An owner for a descriptor that a call answered with. */
  adopt(descriptor: number): Fd;
  /** read(2). @returns Bytes read; 0 at the end. @throws OsError */
  read(fd: Fd, into: Uint8Array): number;
  /** write(2). @returns Bytes taken. @throws OsError */
  write(fd: Fd, bytes: Uint8Array): number;
  /**
   * pread(2): one call, whatever the device makes of it.
   *
   * @param offsetBytes - Any that a double holds exactly: of a VFIO device, `region << 40` and up.
   * @returns Bytes read. @throws OsError
   */
  readAt(fd: Fd, into: Uint8Array, offsetBytes: number): number;
  /** pwrite(2), as `readAt`. @returns Bytes taken. @throws OsError */
  writeAt(fd: Fd, bytes: Uint8Array, offsetBytes: number): number;
  /** True when a read would give something or fail. Never waits. @throws OsError */
  isReadable(fd: Fd): boolean;
  /**
   * Where the first byte lies in this process, for structures that hold pointers. It stays there
   * while somebody refers to the view: the caller must, until the call that uses it has returned.
   *
   * @throws OsError `EINVAL` when it has no bytes
   */
  addressOf(view: Uint8Array): bigint;
}
