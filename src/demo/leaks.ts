// What is left over, counted by another process: descriptors and mappings of the broker from its
// own /proc entries, which it hands over, and what it says it still holds.
import type { AdminClient } from '../client/admin.js';
import { connectAdmin } from '../client/index.js';
import { createFilesOs } from '../os/files.js';
import { loadNative } from '../os/native.js';
import type { LeakCount } from './report.js';

const files = createFilesOs(loadNative());

/** A count of everything that a lease could leave behind. */
export async function holdingsOf(admin: AdminClient): Promise<LeakCount> {
  const inspection = await admin.inspect();
  try {
    const maps = files.readAll(inspection.maps);
    return {
      fds: files.listDirectory(inspection.fdDirectory).length,
      mappings: maps.split('\n').filter((line) => line.includes('/memfd:lessor-')).length,
      iovaBytes: inspection.iovaBytes,
      pasids: inspection.pasids,
      processes: inspection.processes.length,
    };
  } finally {
    inspection.fdDirectory.close();
    inspection.maps.close();
  }
}

/** The same over a connection of its own, which the count includes. */
export async function countHoldings(adminPath: string): Promise<LeakCount> {
  using admin = await connectAdmin({ socket: adminPath });
  return await holdingsOf(admin);
}

/** What `after` has more than `before`. */
export function leaksBetween(before: LeakCount, after: LeakCount): LeakCount {
  return each(after, before, (now, then) => now - then);
}

function each(
  one: LeakCount,
  other: LeakCount,
  choose: (a: number, b: number) => number,
): LeakCount {
  return {
    fds: choose(one.fds, other.fds),
    mappings: choose(one.mappings, other.mappings),
    iovaBytes: choose(one.iovaBytes, other.iovaBytes),
    pasids: choose(one.pasids, other.pasids),
    processes: choose(one.processes, other.processes),
  };
}

/**
 * The smaller of each number. What comes and goes by itself, like the descriptors of the count or
 * a helper process to spare, is in some counts only; what was leaked is in all of them.
 */
export function leastOf(one: LeakCount, other: LeakCount): LeakCount {
  return each(one, other, Math.min);
}

export function mostOf(one: LeakCount, other: LeakCount): LeakCount {
  return each(one, other, Math.max);
}

export function isClean(leaks: LeakCount): boolean {
  return Object.values(leaks).every((count) => count === 0);
}
