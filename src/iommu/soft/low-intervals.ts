// Disjoint intervals below 2^53, in order, for a million of them: flat arrays of numbers, so that a
// lookup allocates nothing and touches few cache lines. Buckets of at most 32 in one slab, and a
// sorted list of buckets.
/** Whole numbers up to 2^53; `end` is outside. */
export interface LowInterval {
  readonly at: number;
  readonly end: number;
}

const bucketMax = 32;
const bucketShift = 5;

export class LowIntervals<T extends LowInterval> {
  /** Start and end of each slot; those of bucket b from slot b * 32, ascending. */
  #ends = new Float64Array(2 * bucketMax);
  /** Which of the values is in a slot: the values themselves never move. */
  #numbers = new Uint32Array(bucketMax);
  readonly #values: (T | undefined)[] = [];
  readonly #unusedNumbers: number[] = [];
  #counts = new Uint8Array(1);
  /** Buckets in ascending order; an empty one exists only alone. */
  #order = new Uint32Array(1);
  /** No start in bucket `order[i]` is below separator i; the first one is 0. */
  #separators = new Float64Array(1);
  #bucketCount = 1;
  /** Buckets out of the order. */
  readonly #unused: number[] = [];
  #size = 0;
  /** Where the last lookup ended; the next one is often beside it. */
  #hint = 0;

  get size(): number {
    return this.#size;
  }

  /** True when nothing shares an address with [at, end). */
  isFree(at: number, end: number): boolean {
    const position = this.#positionOf(at);
    const base = this.#order[position]! << bucketShift;
    const slot = this.#floor(position, at);
    if (slot >= base) {
      if (this.#ends[2 * slot + 1]! > at) return false;
    } else if (position > 0 && this.#ends[2 * this.#lastSlot(position - 1) + 1]! > at) return false;
    const next = this.#slotAfter(position, slot);
    return next < 0 || this.#ends[2 * next]! >= end;
  }

  /** The lowest interval that shares an address with [at, end). */
  firstMeeting(at: number, end: number): T | undefined {
    const position = this.#positionOf(at);
    const base = this.#order[position]! << bucketShift;
    const slot = this.#floor(position, at);
    const before = slot >= base ? slot : position > 0 ? this.#lastSlot(position - 1) : -1;
    if (before >= 0 && this.#ends[2 * before + 1]! > at) return this.#valueOf(before);
    const next = this.#slotAfter(position, slot);
    return next >= 0 && this.#ends[2 * next]! < end ? this.#valueOf(next) : undefined;
  }

  /** Adds an interval that meets none of those inside. */
  insert(value: T): void {
    const { at } = value;
    let position = this.#positionOf(at);
    if (this.#counts[this.#order[position]!] === bucketMax) {
      this.#split(position);
      position = this.#positionOf(at);
    }
    const bucket = this.#order[position]!;
    const slot = this.#floor(position, at) + 1;
    const ends = this.#ends;
    const numbers = this.#numbers;
    // Loops, for the built-in moves cost more than a few elements.
    for (let to = (bucket << bucketShift) + this.#counts[bucket]!; to > slot; to--) {
      ends[2 * to] = ends[2 * to - 2]!;
      ends[2 * to + 1] = ends[2 * to - 1]!;
      numbers[to] = numbers[to - 1]!;
    }
    const number = this.#unusedNumbers.pop() ?? this.#values.length;
    this.#values[number] = value;
    ends[2 * slot] = at;
    ends[2 * slot + 1] = value.end;
    numbers[slot] = number;
    this.#counts[bucket]! += 1;
    this.#size += 1;
  }

  /** Removes and returns the interval with exactly these ends; undefined when there is none. */
  take(at: number, end: number): T | undefined {
    const position = this.#positionOf(at);
    const bucket = this.#order[position]!;
    const slot = this.#floor(position, at);
    if (slot < bucket << bucketShift) return undefined;
    const ends = this.#ends;
    if (ends[2 * slot] !== at || ends[2 * slot + 1] !== end) return undefined;
    const numbers = this.#numbers;
    const number = numbers[slot]!;
    const value = this.#values[number];
    this.#values[number] = undefined;
    this.#unusedNumbers.push(number);
    const last = (bucket << bucketShift) + this.#counts[bucket]! - 1;
    for (let to = slot; to < last; to++) {
      ends[2 * to] = ends[2 * to + 2]!;
      ends[2 * to + 1] = ends[2 * to + 3]!;
      numbers[to] = numbers[to + 1]!;
    }
    this.#counts[bucket]! -= 1;
    this.#size -= 1;
    if (this.#counts[bucket] === 0 && this.#bucketCount > 1) this.#drop(position);
    return value;
  }

  /** All intervals in ascending order. The index may not change meanwhile. */
  *[Symbol.iterator](): IterableIterator<T> {
    for (let position = 0; position < this.#bucketCount; position++) {
      const bucket = this.#order[position]!;
      const base = bucket << bucketShift;
      for (let slot = base; slot < base + this.#counts[bucket]!; slot++) yield this.#valueOf(slot)!;
    }
  }

  #valueOf(slot: number): T | undefined {
    return this.#values[this.#numbers[slot]!];
  }

  /** Where in the order the bucket is that `at` belongs to. */
  #positionOf(at: number): number {
    const separators = this.#separators;
    const count = this.#bucketCount;
    const hint = this.#hint;
    if (hint < count && separators[hint]! <= at) {
      if (hint + 1 === count || at < separators[hint + 1]!) return hint;
    }
    // Around where it would be if all lay evenly, in steps that double: a dense space finds it
    // at once, any other in twice the steps of a plain search.
    const top = separators[count - 1]!;
    let low = at >= top ? count : Math.floor((at / top) * (count - 1)) + 1;
    let high = low;
    let step = 1;
    while (low > 1 && separators[low - 1]! > at) {
      high = low - 1;
      low = Math.max(1, high - step);
      step *= 2;
    }
    while (high < count && separators[high]! <= at) {
      low = high + 1;
      high = Math.min(count, low + step);
      step *= 2;
    }
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (separators[middle]! <= at) low = middle + 1;
      else high = middle;
    }
    this.#hint = low - 1;
    return low - 1;
  }

  /** Slot of the last entry of a bucket that starts at or below `at`; one before its first. */
  #floor(position: number, at: number): number {
    const bucket = this.#order[position]!;
    const ends = this.#ends;
    let low = bucket << bucketShift;
    let high = low + this.#counts[bucket]!;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (ends[2 * middle]! <= at) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #lastSlot(position: number): number {
    const bucket = this.#order[position]!;
    return (bucket << bucketShift) + this.#counts[bucket]! - 1;
  }

  /** The slot that follows one of a bucket, perhaps in the next bucket; -1 after the last. */
  #slotAfter(position: number, slot: number): number {
    if (slot < this.#lastSlot(position)) return slot + 1;
    if (position + 1 === this.#bucketCount) return -1;
    return this.#order[position + 1]! << bucketShift;
  }

  /** Moves the upper half of a full bucket to a new one. */
  #split(position: number): void {
    const upper = this.#unused.pop() ?? this.#grow();
    const half = bucketMax / 2;
    const from = (this.#order[position]! << bucketShift) + half;
    const to = upper << bucketShift;
    this.#ends.copyWithin(2 * to, 2 * from, 2 * (from + half));
    this.#numbers.copyWithin(to, from, from + half);
    this.#counts[this.#order[position]!] = half;
    this.#counts[upper] = half;
    this.#order.copyWithin(position + 2, position + 1, this.#bucketCount);
    this.#separators.copyWithin(position + 2, position + 1, this.#bucketCount);
    this.#order[position + 1] = upper;
    this.#separators[position + 1] = this.#ends[2 * to]!;
    this.#bucketCount += 1;
  }

  /** A bucket that was never used: one more than are in the order. */
  #grow(): number {
    const count = this.#bucketCount;
    if (count === this.#counts.length) {
      this.#ends = widened(this.#ends, new Float64Array(4 * count * bucketMax));
      this.#numbers = widened(this.#numbers, new Uint32Array(2 * count * bucketMax));
      this.#counts = widened(this.#counts, new Uint8Array(2 * count));
      this.#order = widened(this.#order, new Uint32Array(2 * count));
      this.#separators = widened(this.#separators, new Float64Array(2 * count));
    }
    return count;
  }

  /** Takes an empty bucket out of the order. */
  #drop(position: number): void {
    this.#unused.push(this.#order[position]!);
    this.#order.copyWithin(position, position + 1, this.#bucketCount);
    this.#separators.copyWithin(position, position + 1, this.#bucketCount);
    this.#separators[0] = 0;
    this.#bucketCount -= 1;
  }
}

function widened<A extends Float64Array | Uint32Array | Uint8Array>(from: A, to: A): A {
  to.set(from);
  return to;
}
