// IOVA windows of leases that share one address space: disjoint ranges of the aperture.
import { assert } from '../base/errors.js';
import { isAligned, MiB, powerOfTwoAtLeast, roundDown, roundUp } from '../base/units.js';

export interface IovaRange {
  readonly base: number;
  readonly lengthBytes: number;
}

export interface Aperture {
  readonly start: number;
  /** One past the last address. */
  readonly end: number;
}

/** Below it a wrong pointer is likelier than an address: small numbers, offsets, null. */
const lowestBase = 0x1_0000;
/** Windows of this size and more start at its multiples, so that large pages fit. */
const largeAlignmentBytes = 2 * MiB;

/** Where a window starts that has an address space to itself. */
export function firstIovaBase(aperture: Aperture, pageBytes: number): number {
  return roundUp(Math.max(aperture.start, lowestBase), pageBytes);
}

/** First fit over a sorted list of free ranges, which grow together again when freed. */
export class IovaWindows {
  readonly #pageBytes: number;
  readonly #taken = new Map<number, number>();
  /** Disjoint, ascending, never touching each other. */
  #free: IovaRange[] = [];

  /**
   * @param pageBytes - Smallest page of the IOMMU, a power of two.
   * @param reserved - What no window may have a part of.
   */
  constructor(aperture: Aperture, pageBytes: number, reserved: readonly Aperture[] = []) {
    assert(powerOfTwoAtLeast(pageBytes) === pageBytes, `page of ${pageBytes} bytes`);
    this.#pageBytes = pageBytes;
    let base = firstIovaBase(aperture, pageBytes);
    const add = (before: number): void => {
      const end = roundDown(Math.min(before, aperture.end), pageBytes);
      if (end > base) this.#free.push({ base, lengthBytes: end - base });
    };
    for (const { start, end } of [...reserved].sort((one, other) => one.start - other.start)) {
      add(start);
      base = Math.max(base, roundUp(end, pageBytes));
    }
    add(aperture.end);
  }

  /** Bytes given out, those in quarantine included. */
  get takenBytes(): number {
    let sum = 0;
    for (const lengthBytes of this.#taken.values()) sum += lengthBytes;
    return sum;
  }

  get freeRanges(): readonly IovaRange[] {
    return this.#free;
  }

  /**
   * The lowest range that fits: page-aligned, from 2 MiB on aligned to 2 MiB.
   *
   * @param lengthBytes - At least 1; rounded up to pages.
   * @returns undefined when nothing is large enough.
   */
  allocate(lengthBytes: number): IovaRange | undefined {
    assert(lengthBytes >= 1, `IOVA window of ${lengthBytes} bytes`);
    const length = roundUp(lengthBytes, this.#pageBytes);
    const alignment =
      length >= largeAlignmentBytes
        ? Math.max(largeAlignmentBytes, this.#pageBytes)
        : this.#pageBytes;
    for (let index = 0; index < this.#free.length; index += 1) {
      const range = this.#free[index]!;
      const base = roundUp(range.base, alignment);
      const tail = range.base + range.lengthBytes - base - length;
      if (tail < 0) continue;
      const left: IovaRange[] = [];
      if (base > range.base) left.push({ base: range.base, lengthBytes: base - range.base });
      if (tail > 0) left.push({ base: base + length, lengthBytes: tail });
      this.#free.splice(index, 1, ...left);
      this.#taken.set(base, length);
      return { base, lengthBytes: length };
    }
    return undefined;
  }

  /** Gives a range back; it must be one that `allocate` returned. */
  free(range: IovaRange): void {
    const { base, lengthBytes } = range;
    assert(this.#taken.get(base) === lengthBytes, `IOVA window at ${base} is not in use`);
    assert(isAligned(base, this.#pageBytes), `IOVA window at ${base} is not aligned`);
    this.#taken.delete(base);
    const at = this.#free.findIndex((other) => other.base > base);
    const index = at < 0 ? this.#free.length : at;
    const before = this.#free[index - 1];
    const after = this.#free[index];
    const joinsBefore = before !== undefined && before.base + before.lengthBytes === base;
    const joinsAfter = after !== undefined && base + lengthBytes === after.base;
    const start = joinsBefore ? before.base : base;
    const end = joinsAfter ? after.base + after.lengthBytes : base + lengthBytes;
    this.#free.splice(joinsBefore ? index - 1 : index, Number(joinsBefore) + Number(joinsAfter), {
      base: start,
      lengthBytes: end - start,
    });
  }
}
