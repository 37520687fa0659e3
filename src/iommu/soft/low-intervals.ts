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
/** What a full bucket hands over when the new interval is the last of all: it is a filling. */
const appendedMove = bucketMax / 4;

export class LowIntervals<T extends LowInterval> {
  /** Of each slot; those of bucket b from slot b * 32, ascending. */
  #starts = new Float64Array(bucketMax);
  #ends = new Float64Array(bucketMax);
  /** Which of the values is in a slot: the values themselves never move. */
  #numbers = new Uint32Array(bucketMax);
  readonly #values: (T | undefined)[] = [];
  readonly #unusedNumbers: number[] = [];
  /** Buckets in ascending order, times 64, plus how many they hold; empty ones only alone. */
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
    const packed = this.#order[position]!;
    const base = baseOf(packed);
    const slot = this.#floor(packed, at);
    if (slot >= base) {
      if (this.#ends[slot]! > at) return false;
    } else if (position > 0 && this.#ends[this.#lastSlot(position - 1)]! > at) return false;
    const next = this.#slotAfter(position, slot);
    return next < 0 || this.#starts[next]! >= end;
  }

  /** The lowest interval that shares an address with [at, end). */
  firstMeeting(at: number, end: number): T | undefined {
    const position = this.#positionOf(at);
    const packed = this.#order[position]!;
    const slot = this.#floor(packed, at);
    const isInside = slot >= baseOf(packed);
    const before = isInside ? slot : position > 0 ? this.#lastSlot(position - 1) : -1;
    if (before >= 0 && this.#ends[before]! > at) return this.#valueOf(before);
    const next = this.#slotAfter(position, slot);
    return next >= 0 && this.#starts[next]! < end ? this.#valueOf(next) : undefined;
  }

  /** Adds an interval that meets none of those inside. */
  insert(value: T): void {
    const { at } = value;
    let position = this.#positionOf(at);
    if (countOf(this.#order[position]!) === bucketMax) {
      this.#split(position, at);
      position = this.#positionOf(at);
    }
    const packed = this.#order[position]!;
    const slot = this.#floor(packed, at) + 1;
    const starts = this.#starts;
    const ends = this.#ends;
    const numbers = this.#numbers;
    // Loops, for the built-in moves cost more than a few elements.
    for (let to = baseOf(packed) + countOf(packed); to > slot; to--) {
      starts[to] = starts[to - 1]!;
      ends[to] = ends[to - 1]!;
      numbers[to] = numbers[to - 1]!;
    }
    const number = this.#unusedNumbers.pop() ?? this.#values.length;
    this.#values[number] = value;
    starts[slot] = at;
    ends[slot] = value.end;
    numbers[slot] = number;
    this.#order[position] = packed + 1;
    this.#size += 1;
  }

  /** Removes and returns the interval with exactly these ends; undefined when there is none. */
  take(at: number, end: number): T | undefined {
    const position = this.#positionOf(at);
    const packed = this.#order[position]!;
    const slot = this.#floor(packed, at);
    if (slot < baseOf(packed)) return undefined;
    const starts = this.#starts;
    const ends = this.#ends;
    if (starts[slot] !== at || ends[slot] !== end) return undefined;
    const numbers = this.#numbers;
    const number = numbers[slot]!;
    const value = this.#values[number];
    this.#values[number] = undefined;
    this.#unusedNumbers.push(number);
    const last = baseOf(packed) + countOf(packed) - 1;
    for (let to = slot; to < last; to++) {
      starts[to] = starts[to + 1]!;
      ends[to] = ends[to + 1]!;
      numbers[to] = numbers[to + 1]!;
    }
    this.#order[position] = packed - 1;
    this.#size -= 1;
    if (countOf(packed) === 1 && this.#bucketCount > 1) this.#drop(position);
    return value;
  }

  /** All intervals in ascending order. The index may not change meanwhile. */
  *[Symbol.iterator](): IterableIterator<T> {
    for (let position = 0; position < this.#bucketCount; position++) {
      const packed = this.#order[position]!;
      const base = baseOf(packed);
      for (let slot = base; slot < base + countOf(packed); slot++) yield this.#valueOf(slot)!;
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
  #floor(packed: number, at: number): number {
    const starts = this.#starts;
    let slot = baseOf(packed);
    const end = slot + countOf(packed);
    // One by one, not by halves: the processor sees where this goes, and loads ahead.
    while (slot < end && starts[slot]! <= at) slot++;
    return slot - 1;
  }

  #lastSlot(position: number): number {
    const packed = this.#order[position]!;
    return baseOf(packed) + countOf(packed) - 1;
  }

  /** The slot that follows one of a bucket, perhaps in the next bucket; -1 after the last. */
  #slotAfter(position: number, slot: number): number {
    if (slot < this.#lastSlot(position)) return slot + 1;
    if (position + 1 === this.#bucketCount) return -1;
    return baseOf(this.#order[position + 1]!);
  }

  /** Moves upper entries of a full bucket to a new one. */
  #split(position: number, at: number): void {
    const bucket = this.#unused.pop() ?? this.#grow();
    const packed = this.#order[position]!;
    const isAppended =
      position + 1 === this.#bucketCount && at > this.#starts[this.#lastSlot(position)]!;
    const moved = isAppended ? appendedMove : bucketMax / 2;
    const from = baseOf(packed) + bucketMax - moved;
    const to = bucket << bucketShift;
    this.#starts.copyWithin(to, from, from + moved);
    this.#ends.copyWithin(to, from, from + moved);
    this.#numbers.copyWithin(to, from, from + moved);
    this.#order.copyWithin(position + 2, position + 1, this.#bucketCount);
    this.#separators.copyWithin(position + 2, position + 1, this.#bucketCount);
    this.#order[position] = packed - moved;
    this.#order[position + 1] = bucket * countUnit + moved;
    this.#separators[position + 1] = this.#starts[to]!;
    this.#bucketCount += 1;
  }

  /** A bucket that was never used: one more than are in the order. */
  #grow(): number {
    const count = this.#bucketCount;
    if (count === this.#order.length) {
      this.#starts = widened(this.#starts, new Float64Array(2 * count * bucketMax));
      this.#ends = widened(this.#ends, new Float64Array(2 * count * bucketMax));
      this.#numbers = widened(this.#numbers, new Uint32Array(2 * count * bucketMax));
      this.#order = widened(this.#order, new Uint32Array(2 * count));
      this.#separators = widened(this.#separators, new Float64Array(2 * count));
    }
    return count;
  }

  /** Takes an empty bucket out of the order. */
  #drop(position: number): void {
    this.#unused.push(this.#order[position]! / countUnit);
    this.#order.copyWithin(position, position + 1, this.#bucketCount);
    this.#separators.copyWithin(position, position + 1, this.#bucketCount);
    this.#separators[0] = 0;
    this.#bucketCount -= 1;
  }
}

/** Multiples of it are buckets in the order. */
const countUnit = 64;

/** First slot of a bucket in the order. */
function baseOf(packed: number): number {
  return (packed >>> 6) << bucketShift;
}

function countOf(packed: number): number {
  return packed & (countUnit - 1);
}

function widened<A extends Float64Array | Uint32Array>(from: A, to: A): A {
  to.set(from);
  return to;
}
