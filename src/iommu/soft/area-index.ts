// The areas of one IOAS in order, in exact u64. Those below 2^53 are kept as numbers.
import type { Area } from './area.js';
import { IntervalIndex } from './interval-index.js';
import { LowIntervals } from './low-intervals.js';

/** Numbers are exact up to here; one past the last low address. */
const lowEnd = 2 ** 53;

export class AreaIndex {
  readonly #low = new LowIntervals<Area>();
  // All above the low ones: at most the first of them begins below 2^53.
  readonly #high = new IntervalIndex<Area>();

  get size(): number {
    return this.#low.size + this.#high.size;
  }

  /** Adds an area that meets none of those inside. */
  insert(area: Area): void {
    if (area.isLow) this.#low.insert(area);
    else this.#high.insert(area);
  }

  remove(area: Area): void {
    if (area.isLow) this.#low.take(area.at, area.end);
    else this.#high.remove(area.start);
  }

  /** Removes and returns the area that is exactly [at, end), for `end` up to 2^53. */
  take(at: number, end: number): Area | undefined {
    return this.#low.take(at, end);
  }

  /** True when nothing shares an address with [at, end), for `end` up to 2^53. */
  isFree(at: number, end: number): boolean {
    if (!this.#low.isFree(at, end)) return false;
    return this.#high.size === 0 || !this.#high.firstMeeting(BigInt(at), BigInt(end) - 1n);
  }

  /** The lowest area that shares an address with [start, last]. */
  firstMeeting(start: bigint, last: bigint): Area | undefined {
    if (start < BigInt(lowEnd)) {
      const end = last < BigInt(lowEnd) ? Number(last) + 1 : lowEnd;
      const met = this.#low.firstMeeting(Number(start), end);
      if (met !== undefined) return met;
    }
    return this.#high.firstMeeting(start, last);
  }

  /** All areas in ascending order. The index may not change meanwhile. */
  *[Symbol.iterator](): IterableIterator<Area> {
    yield* this.#low;
    yield* this.#high;
  }
}
