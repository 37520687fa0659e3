// Disjoint intervals of exact u64, in order: lookups and changes cost the same for a thousand and
// for a million. Two levels: sorted buckets of at most 64, and a sorted list of buckets.

/** Both ends are inside. */
export interface Interval {
  readonly start: bigint;
  readonly last: bigint;
}

const bucketMax = 64;

class Bucket<T> {
  readonly starts = new BigUint64Array(bucketMax);
  readonly values: T[] = [];

  /** Index of the last entry that starts at or below `at`; -1 when there is none. */
  floor(at: bigint): number {
    let low = 0;
    let high = this.values.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.starts[middle]! <= at) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  insert(index: number, start: bigint, value: T): void {
    this.starts.copyWithin(index + 1, index, this.values.length);
    this.starts[index] = start;
    if (index === this.values.length) this.values.push(value);
    else this.values.splice(index, 0, value);
  }

  remove(index: number): void {
    this.starts.copyWithin(index, index + 1, this.values.length);
    if (index === this.values.length - 1) this.values.pop();
    else this.values.splice(index, 1);
  }
}

export class IntervalIndex<T extends Interval> {
  /** Never empty; a bucket without values exists only alone. */
  readonly #buckets: Bucket<T>[] = [new Bucket<T>()];
  /** No start in bucket i is below separator i; the first one is 0. */
  #separators = new BigUint64Array(64);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds an interval that meets none of those inside. */
  insert(value: T): void {
    let index = this.#bucketOf(value.start);
    if (this.#buckets[index]!.values.length === bucketMax) {
      this.#split(index);
      index = this.#bucketOf(value.start);
    }
    const bucket = this.#buckets[index]!;
    bucket.insert(bucket.floor(value.start) + 1, value.start, value);
    this.#size += 1;
  }

  /** Removes the interval that starts exactly there; false when there is none. */
  remove(start: bigint): boolean {
    const index = this.#bucketOf(start);
    const bucket = this.#buckets[index]!;
    const at = bucket.floor(start);
    if (at < 0 || bucket.starts[at] !== start) return false;
    bucket.remove(at);
    this.#size -= 1;
    if (bucket.values.length === 0 && this.#buckets.length > 1) this.#drop(index);
    return true;
  }

  /** The lowest interval that shares an address with [start, last]. */
  firstMeeting(start: bigint, last: bigint): T | undefined {
    let index = this.#bucketOf(start);
    let bucket = this.#buckets[index]!;
    let at = bucket.floor(start);
    if (at < 0 && index > 0) {
      // Nothing here starts that low; what reaches up to `start` can only end the one before.
      const before = this.#buckets[index - 1]!.values.at(-1)!;
      if (before.last >= start) return before;
    }
    if (at >= 0 && bucket.values[at]!.last >= start) return bucket.values[at];
    at += 1;
    if (at === bucket.values.length) {
      index += 1;
      if (index === this.#buckets.length) return undefined;
      bucket = this.#buckets[index]!;
      at = 0;
    }
    const next = bucket.values[at];
    return next !== undefined && next.start <= last ? next : undefined;
  }

  /** All intervals in ascending order. The index may not change meanwhile. */
  *[Symbol.iterator](): IterableIterator<T> {
    for (const bucket of this.#buckets) yield* bucket.values;
  }

  #bucketOf(start: bigint): number {
    let low = 1;
    let high = this.#buckets.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#separators[middle]! <= start) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #split(index: number): void {
    const full = this.#buckets[index]!;
    const upper = new Bucket<T>();
    const half = bucketMax / 2;
    upper.values.push(...full.values.splice(half));
    upper.starts.set(full.starts.subarray(half));
    const count = this.#buckets.length;
    if (count === this.#separators.length) {
      const larger = new BigUint64Array(2 * count);
      larger.set(this.#separators);
      this.#separators = larger;
    }
    this.#separators.copyWithin(index + 2, index + 1, count);
    this.#separators[index + 1] = upper.starts[0]!;
    this.#buckets.splice(index + 1, 0, upper);
  }

  #drop(index: number): void {
    this.#buckets.splice(index, 1);
    this.#separators.copyWithin(index, index + 1, this.#buckets.length + 1);
    this.#separators[0] = 0n;
  }
}
