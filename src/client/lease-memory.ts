// Memory of a client that the device may be given: a sealed memfd and a mapping of it.
import { LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { type Iova, roundUp, toCount } from '../base/units.js';
import type { Fd } from '../os/fd.js';
import {
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  type Mapping,
  type MemoryOs,
} from '../os/memory-types.js';

/** Memory of this process that the device can reach. Whoever allocated it disposes it. */
export class LeaseMemory implements AsyncDisposable {
  /** First byte as the device sees it; page-aligned. */
  readonly iova: Iova;
  readonly lengthBytes: number;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly #mapping: Mapping;
  readonly #fd: Fd;
  readonly #unmap: () => Promise<void>;
  #disposed = false;

  constructor(iova: Iova, fd: Fd, mapping: Mapping, unmap: () => Promise<void>) {
    this.iova = iova;
    this.#fd = fd;
    this.#mapping = mapping;
    this.#unmap = unmap;
    this.lengthBytes = mapping.lengthBytes;
    this.u8 = new Uint8Array(mapping.buffer);
    this.u32 = new Uint32Array(mapping.buffer);
  }

  /** Takes it from the device, then unmaps it here: the arrays are detached. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    try {
      await this.#unmap();
    } finally {
      this.#mapping[Symbol.dispose]();
      this.#fd.close();
    }
  }
}

export interface SealedMemory {
  readonly fd: Fd;
  readonly mapping: Mapping;
}

/**
 * A zeroed memfd, page-aligned, sealed against shrinking and growing, mapped here.
 *
 * @param lengthBytes - Rounded up to whole pages.
 * @throws LessorError `INVALID_ARGUMENT`; OsError of mmap.
 */
export function createSealedMemory(memory: MemoryOs, lengthBytes: number): SealedMemory {
  const wanted = toCount(lengthBytes, 'lengthBytes', limits.mapBytesMax);
  if (wanted === 0) throw new LessorError('INVALID_ARGUMENT', 'lengthBytes is 0');
  const wholeBytes = roundUp(wanted, memory.pageBytes);
  const fd = memory.create('lessor-memory', wholeBytes);
  try {
    memory.addSeals(fd, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    const mapping = memory.map(fd, { offsetBytes: 0, lengthBytes: wholeBytes, writable: true });
    return { fd, mapping };
  } catch (error) {
    fd.close();
    throw error;
  }
}
