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
  return {
    fds: after.fds - before.fds,
    mappings: after.mappings - before.mappings,
    iovaBytes: after.iovaBytes - before.iovaBytes,
    pasids: after.pasids - before.pasids,
    processes: after.processes - before.processes,
  };
}

export function isClean(leaks: LeakCount): boolean {
  return Object.values(leaks).every((count) => count === 0);
}
