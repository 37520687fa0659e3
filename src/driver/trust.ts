// Whether a driver's file may run in the broker: only if nobody but root and the broker's own user
// can have written it, or can put another in its place.
import type { Stats } from 'node:fs';
import { lstat, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LessorError } from '../base/errors.js';

const groupOrOthersWrite = 0o022;
const stickyBit = 0o1000;

function refuse(path: string, why: string): never {
  throw new LessorError('DRIVER_UNTRUSTED', `${path} ${why}`);
}

function checkOwner(path: string, stats: Stats, uid: number): void {
  if (stats.uid !== 0 && stats.uid !== uid) refuse(path, `is owned by uid ${stats.uid}`);
}

function checkDirectory(path: string, stats: Stats, uid: number): void {
  checkOwner(path, stats, uid);
  // In a sticky directory others can add entries, but not replace ours.
  const isShared = (stats.mode & groupOrOthersWrite) !== 0 && (stats.mode & stickyBit) === 0;
  if (isShared) refuse(path, 'is a directory that others can write');
}

/**
 * Checks a file and every directory above it, with symbolic links resolved.
 *
 * @param uid - Whose files are trusted besides root's.
 * @returns The real path, which is what to load.
 * @throws LessorError `DRIVER_UNTRUSTED`, `DRIVER_NOT_FOUND`
 */
export async function checkTrusted(path: string, uid: number): Promise<string> {
  let real: string;
  try {
    real = await realpath(path);
  } catch (error) {
    throw new LessorError('DRIVER_NOT_FOUND', `${path} cannot be read`, { cause: error });
  }
  const stats = await lstat(real);
  if (!stats.isFile()) refuse(real, 'is not a regular file');
  checkOwner(real, stats, uid);
  if ((stats.mode & groupOrOthersWrite) !== 0) refuse(real, 'can be written by others');
  for (let folder = dirname(real); ; folder = dirname(folder)) {
    checkDirectory(folder, await lstat(folder), uid);
    if (folder === dirname(folder)) return real;
  }
}
