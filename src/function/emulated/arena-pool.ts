// Arenas that ended functions left behind: address space is reserved for the life of the process,
// so the next function takes it over.
import type { Arena, MemoryOs } from '../../os/memory-types.js';

const idle = new WeakMap<MemoryOs, Arena[]>();

/** An arena of this length with nothing in it. @throws OsError `ENOSPC`, `ENOMEM` */
export function takeArena(memory: MemoryOs, lengthBytes: number): Arena {
  const arenas = idle.get(memory) ?? [];
  const index = arenas.findIndex((arena) => arena.lengthBytes === lengthBytes);
  if (index < 0) return memory.createArena(lengthBytes);
  return arenas.splice(index, 1)[0]!;
}

/** Returns an arena. Everything in it was cleared, and no thread knows it any more. */
export function giveArena(memory: MemoryOs, arena: Arena): void {
  const arenas = idle.get(memory) ?? [];
  arenas.push(arena);
  idle.set(memory, arenas);
}
