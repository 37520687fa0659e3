// Arenas for the memory of clients. A process has few and never gets one back, so devices share
// them: each new device goes where the fewest are.
import { isOsError } from '../../base/errors.js';
import { GiB } from '../../base/units.js';
import { ArenaPages } from '../../iommu/soft/arena-pages.js';
import type { Arena, MemoryOs } from '../../os/memory-types.js';

/** Address space costs nothing; the rest of a process's sixteen is for emulated functions. */
const arenaBytes = 4 * GiB;
const arenasMax = 8;

/** A place for client memory. Several devices may have the same. */
export interface SharedArena extends Disposable {
  readonly arena: Arena;
  /** What is free of it. */
  readonly pages: ArenaPages;
}

interface Entry {
  readonly arena: Arena;
  readonly pages: ArenaPages;
  deviceCount: number;
}

const known = new WeakMap<MemoryOs, Entry[]>();

function create(memory: MemoryOs, entries: Entry[]): Entry | undefined {
  if (entries.length >= arenasMax) return undefined;
  try {
    const arena = memory.createArena(arenaBytes);
    const entry = { arena, pages: new ArenaPages(0, arena.lengthBytes), deviceCount: 0 };
    entries.push(entry);
    return entry;
  } catch (error) {
    if (!isOsError(error) || entries.length === 0) throw error;
    return undefined;
  }
}

/** @throws OsError `ENOSPC`, `ENOMEM` when the process can have none. */
export function joinArena(memory: MemoryOs): SharedArena {
  const entries = known.get(memory) ?? [];
  known.set(memory, entries);
  let entry = entries.find(({ deviceCount }) => deviceCount === 0) ?? create(memory, entries);
  entry ??= entries.reduce((least, other) =>
    other.deviceCount < least.deviceCount ? other : least,
  );
  const joined = entry;
  joined.deviceCount += 1;
  return {
    arena: joined.arena,
    pages: joined.pages,
    [Symbol.dispose]: () => {
      joined.deviceCount -= 1;
    },
  };
}
