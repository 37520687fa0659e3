// ioctl with a structure built by src/uapi.
import type { Fd } from './fd.js';

export interface IoctlOs {
  /**
   * @param argument - The structure, read and written in place; a number is passed by value.
   * @returns The non-negative result. @throws OsError
   */
  ioctl(fd: Fd, request: number, argument: Uint8Array | number): number;
  /** open(2) with O_CLOEXEC. @throws OsError */
  open(path: string, flags: number): Fd;
}
