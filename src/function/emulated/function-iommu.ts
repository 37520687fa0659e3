// The IOMMU of one function, as far as the function needs it: handles for the worker, pages for
// windows, address spaces.
import type { Clock } from '../../base/clock.js';
import { MiB, roundDown } from '../../base/units.js';
import type { IommuHandles } from '../../iommu/soft/control.js';
import { createSoftIommu, type SoftIommu } from '../../iommu/soft/soft-iommu.js';
import type { AddressSpace, RevocableWindow } from '../../iommu/types.js';
import type { Arena, MemoryOs } from '../../os/memory-types.js';
import type { ArenaRanges } from './window-set.js';

/** The software IOMMU's PASID table ends there. */
export const pasidBitsMax = 16;

/** A quarter of the arena is for windows and scratch, the rest for client memory. */
function windowBytesOf(arena: Arena): number {
  return Math.max(roundDown(arena.lengthBytes / 4, 2 * MiB), 2 * MiB);
}

export class FunctionIommu implements AsyncDisposable {
  readonly #soft: SoftIommu;

  constructor(arena: Arena, memory: MemoryOs, clock: Clock, pasidBits: number) {
    const layout = { windowBytes: windowBytesOf(arena) };
    this.#soft = createSoftIommu({ arena, layout, memory, clock, pasidBits });
  }

  get handles(): IommuHandles {
    return this.#soft.handles;
  }

  /** The windows' part of the arena. */
  get pages(): ArenaRanges {
    return this.#soft.windows;
  }

  /**
   * Opens an address space under a PASID, or a share of the one under the plain requester id,
   * which has nothing mapped until then.
   *
   * @throws LessorError `INVALID_ARGUMENT` for PASID 0, one too wide or in use.
   */
  open(pasid: number | undefined): AddressSpace {
    return this.#soft.spaces.open({ pasid });
  }

  /** Lets address spaces map a part of the arena that a window has. */
  exportWindow(
    arenaOffsetBytes: number,
    lengthBytes: number,
    isWritable: boolean,
  ): RevocableWindow {
    return this.#soft.iommufd.exportWindow({ arenaOffsetBytes, lengthBytes, isWritable });
  }

  /** Wakes the worker, or keeps it from its next sleep. */
  wake(): void {
    this.#soft.invalidation.wake();
  }

  /** No worker is left: everything counts as acknowledged. */
  workerGone(): void {
    this.#soft.invalidation.workerGone();
  }

  /** Tells the owners of mappings whose memory was truncated. */
  checkFaults(): void {
    this.#soft.iommufd.checkFaults();
  }

  /** Removes every mapping. Only without a worker. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#soft.spaces[Symbol.asyncDispose]();
    this.#soft.iommufd[Symbol.dispose]();
    await this.#soft.iommufd.settled();
  }
}
