// Reading sysfs and its like: every read is bounded; what looks wrong is as if it were not there.
import {
  closeSync,
  existsSync,
  opendirSync,
  openSync,
  readlinkSync,
  readSync,
  realpathSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { LessorError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';

/** Bytes of a file, at most `bytesMax`; undefined when there are more or none can be read. */
export function readBounded(path: string, bytesMax: number): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return undefined;
  }
  try {
    const bytes = Buffer.alloc(bytesMax + 1);
    let filled = 0;
    while (filled <= bytesMax) {
      const count = readSync(fd, bytes, filled, bytes.length - filled, null);
      if (count === 0) return bytes.toString('utf8', 0, filled);
      filled += count;
    }
    return undefined;
  } catch {
    return undefined;
  } finally {
    closeSync(fd);
  }
}

/** Names in a folder, sorted; none where there is no folder. @throws LessorError `SYSTEM_FAILED` */
export function namesIn(folder: string): string[] {
  const names: string[] = [];
  try {
    const directory = opendirSync(folder);
    try {
      for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
        if (names.length > limits.sysfsEntriesMax) break;
        names.push(entry.name);
      }
    } finally {
      directory.closeSync();
    }
  } catch {
    return [];
  }
  if (names.length <= limits.sysfsEntriesMax) return names.sort();
  // Whoever is left out could be the one that matters.
  throw new LessorError('SYSTEM_FAILED', `more than ${limits.sysfsEntriesMax} names in ${folder}`);
}

/** Files below the root of a sysfs; paths are relative to it. */
export class SysfsFiles {
  readonly root: string;

  constructor(root = '/sys') {
    this.root = root;
  }

  path(relative: string): string {
    return join(this.root, relative);
  }

  /** An attribute without its end: one line of ASCII, or undefined. */
  text(relative: string): string | undefined {
    const text = readBounded(this.path(relative), limits.sysfsAttributeBytesMax);
    const line = text?.replace(/[\n\0]$/, '');
    return line !== undefined && /^[\x20-\x7e]*$/.test(line) ? line : undefined;
  }

  /** A whole number, decimal or after `0x`. */
  number(relative: string): number | undefined {
    const text = this.text(relative)?.trim() ?? '';
    if (!/^(-?\d{1,15}|0x[0-9a-f]{1,13})$/i.test(text)) return undefined;
    return Number(text);
  }

  /** Last part of where a link leads. */
  linkName(relative: string): string | undefined {
    try {
      return basename(readlinkSync(this.path(relative)));
    } catch {
      return undefined;
    }
  }

  /** @throws LessorError `SYSTEM_FAILED` when there are too many */
  names(relative: string): string[] {
    return namesIn(this.path(relative));
  }

  exists(relative: string): boolean {
    return existsSync(this.path(relative));
  }

  /** Absolute, without links. */
  realPath(relative: string): string | undefined {
    try {
      return realpathSync(this.path(relative));
    } catch {
      return undefined;
    }
  }
}
