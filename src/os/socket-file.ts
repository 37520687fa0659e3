// The file of a listening socket: its mode, and whether it is still the one that was made.
import { chmodSync, fchmodSync, lstatSync, unlinkSync } from 'node:fs';

export interface FileIdentity {
  readonly device: bigint;
  readonly inode: bigint;
}

/** What a listening socket does to its file; a parameter, so that tests need no file system. */
export interface SocketFiles {
  /** Mode of the file that bind will make, less the umask. */
  setSocketMode(fd: number, mode: number): void;
  setMode(path: string, mode: number): void;
  identity(path: string): FileIdentity | undefined;
  remove(path: string): void;
}

export const machineSocketFiles: SocketFiles = {
  setSocketMode: fchmodSync,
  setMode: chmodSync,
  identity(path) {
    const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    return found && { device: found.dev, inode: found.ino };
  },
  remove: unlinkSync,
};
