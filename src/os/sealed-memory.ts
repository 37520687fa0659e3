// A memfd that its maker maps and gives to a device: sealed, it can neither shrink nor grow.
import { roundUp } from '../base/units.js';
import type { Fd } from './fd.js';
import {
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  type Mapping,
  type MemoryOs,
} from './memory-types.js';

/** The caller owns both. */
export interface SealedMemory {
  readonly fd: Fd;
  readonly mapping: Mapping;
}

/**
 * Zeroed memory of its own, mapped here for reading and writing.
 *
 * @param lengthBytes - At least 1; rounded up to whole pages.
 * @throws OsError of memfd_create, ftruncate or mmap.
 */
export function createSealedMemory(
  memory: MemoryOs,
  name: string,
  lengthBytes: number,
): SealedMemory {
  const wholeBytes = roundUp(lengthBytes, memory.pageBytes);
  const fd = memory.create(name, wholeBytes);
  try {
    memory.addSeals(fd, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    const mapping = memory.map(fd, { offsetBytes: 0, lengthBytes: wholeBytes, writable: true });
    return { fd, mapping };
  } catch (error) {
    fd.close();
    throw error;
  }
}
