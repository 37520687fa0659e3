// Which processes have a file of VFIO open, as far as /proc shows it to who asks.
import { readlinkSync } from 'node:fs';
import { limits } from '../../base/limits.js';
import { namesIn, readBounded } from './sysfs-files.js';

export interface NodeHolder {
  readonly pid: number;
  /** Its command's name. */
  readonly name: string;
}

/**
 * Who has one of these files open. Root sees everybody; others themselves alone.
 *
 * @param proc - Where proc is mounted.
 */
export function nodeHolders(paths: readonly string[], proc = '/proc'): NodeHolder[] {
  const pids = namesIn(proc).filter((name) => /^[1-9]\d{0,9}$/.test(name));
  return pids.flatMap((pid) => {
    if (!hasOpen(`${proc}/${pid}/fd`, paths)) return [];
    const name = readBounded(`${proc}/${pid}/comm`, limits.sysfsAttributeBytesMax) ?? '';
    return [{ pid: Number(pid), name: name.trim().replace(/[^\x20-\x7e]/g, '?') }];
  });
}

/** `node (pid 17)`, for people. */
export function holderText(holders: readonly NodeHolder[]): string {
  return holders.map(({ name, pid }) => `${name} (pid ${pid})`).join(', ');
}

function hasOpen(folder: string, paths: readonly string[]): boolean {
  try {
    return namesIn(folder).some((fd) => {
      try {
        return paths.includes(readlinkSync(`${folder}/${fd}`));
      } catch {
        return false;
      }
    });
  } catch {
    // More descriptors than anybody has who drives a function.
    return false;
  }
}
