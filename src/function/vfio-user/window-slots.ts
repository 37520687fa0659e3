// Where the memory of windows is mapped: above all that leases may map, a place for each. Nothing
// there permits DMA, so an address of it that a client names faults.
import { assert } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { iovaEnd } from '../../base/units.js';

const slotsMax = limits.vfioUserWindowFramesMax;

/** First IOVA of the windows' memory: one past the last that leases may map. */
export const windowIovaStart = iovaEnd - slotsMax * limits.windowBytesMax;

export class WindowSlots {
  readonly #taken = new Set<number>();

  /** The lowest free IOVA with room for any window. There are no more windows than frames. */
  take(): number {
    let iova = windowIovaStart;
    while (this.#taken.has(iova)) iova += limits.windowBytesMax;
    assert(iova < iovaEnd, 'more windows than frames');
    this.#taken.add(iova);
    return iova;
  }

  give(iova: number): void {
    this.#taken.delete(iova);
  }
}
