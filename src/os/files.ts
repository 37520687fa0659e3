// Reading what another process handed over: an open directory, an open file of /proc.
import { readSync } from 'node:fs';
import type { Fd } from './fd.js';
import type { FileCalls } from './native-files.js';
import { checkResult } from './native-result.js';

/** struct linux_dirent64: d_ino, d_off, d_reclen at 16, d_type at 18, d_name from 19. */
const reclenOffset = 16;
const nameOffset = 19;
const bufferBytes = 32 * 1024;

export interface FilesOs {
  /**
   * Names in an open directory, without `.` and `..`, from where it stands. A descriptor of
   * another process's /proc/<pid>/fd stays readable where its path is not.
   *
   * @throws OsError ENOTDIR, EBADF
   */
  listDirectory(fd: Fd): string[];
  /** The whole of an open file as UTF-8, from its start. */
  readAll(fd: Fd): string;
}

export function createFilesOs(native: FileCalls): FilesOs {
  return {
    listDirectory: (fd) => listDirectory(native, fd),
    readAll,
  };
}

function listDirectory(native: FileCalls, fd: Fd): string[] {
  const names: string[] = [];
  const buffer = Buffer.alloc(bufferBytes);
  for (;;) {
    const filled = checkResult(native.directoryEntries(fd.number, buffer), 'getdents64');
    if (filled === 0) return names;
    for (let at = 0; at < filled; ) {
      const end = at + buffer.readUInt16LE(at + reclenOffset);
      const name = buffer.subarray(at + nameOffset, buffer.indexOf(0, at + nameOffset));
      if (!name.equals(dot) && !name.equals(dotDot)) names.push(name.toString());
      at = end;
    }
  }
}

const dot = Buffer.from('.');
const dotDot = Buffer.from('..');

function readAll(fd: Fd): string {
  const chunks: Buffer[] = [];
  let position = 0;
  for (;;) {
    const chunk = Buffer.alloc(bufferBytes);
    const count = readSync(fd.number, chunk, 0, chunk.length, position);
    if (count === 0) return Buffer.concat(chunks).toString();
    chunks.push(chunk.subarray(0, count));
    position += count;
  }
}
