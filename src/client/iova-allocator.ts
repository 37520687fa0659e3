// Picks I/O virtual addresses inside the IOVA window of one lease, first fit.
import { LessorError } from '../base/errors.js';
import { hex, type Iova, roundUp } from '../base/units.js';

interface Taken {
  readonly start: number;
  readonly end: number;
}

export class IovaAllocator {
  readonly #start: number;
  readonly #end: number;
  readonly #pageBytes: number;
  // In ascending order; a client holds few mappings next to the cost of making one.
  readonly #taken: Taken[] = [];

  constructor(window: { base: number; lengthBytes: number }, pageBytes: number) {
    this.#start = window.base;
    this.#end = window.base + window.lengthBytes;
    this.#pageBytes = pageBytes;
  }

  /** @throws LessorError `QUOTA_EXCEEDED` when no hole is large enough. */
  allocate(lengthBytes: number): Iova {
    const wholeBytes = roundUp(lengthBytes, this.#pageBytes);
    let start = this.#start;
    let index = 0;
    for (; index < this.#taken.length; index += 1) {
      const next = this.#taken[index] as Taken;
      if (next.start - start >= wholeBytes) break;
      start = next.end;
    }
    if (start + wholeBytes > this.#end) {
      throw new LessorError('QUOTA_EXCEEDED', `no hole of ${hex(wholeBytes)} in the IOVA window`, {
        hint: 'unmap something, or acquire with a larger memoryBytes',
      });
    }
    this.#taken.splice(index, 0, { start, end: start + wholeBytes });
    return start as Iova;
  }

  /** Notes an address that the caller chose; the broker checks it. */
  take(iova: Iova, lengthBytes: number): void {
    const index = this.#taken.findIndex((range) => range.start > iova);
    const at = index < 0 ? this.#taken.length : index;
    this.#taken.splice(at, 0, { start: iova, end: iova + lengthBytes });
  }

  free(iova: Iova): void {
    const index = this.#taken.findIndex((range) => range.start === iova);
    if (index >= 0) this.#taken.splice(index, 1);
  }
}
