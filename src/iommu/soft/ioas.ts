// One IOAS: areas, reservations, allowed ranges and alignment, in exact u64; and its domains.
import { type IovaRange, u64Max } from '../requests.js';
import type { Area } from './area.js';
import { AreaIndex } from './area-index.js';
import { pageBytes } from './entry.js';
import type { Hwpt } from './hwpt.js';
import { IntervalIndex } from './interval-index.js';
import { fail } from './objects.js';

interface Reservation extends IovaRange {
  readonly owner: object;
  /** The ends as numbers, rounded above 2^53: they compare right with what is below. */
  readonly at: number;
  readonly lastAt: number;
}

/** Software that reads and writes through an IOAS, as Linux's access objects do. */
export interface IoasAccess {
  /** A page when it pins, else 1: what the IOAS must be aligned to. */
  readonly pageBytes: number;
  /** Asks it to let go of an area: what it pinned there goes from `uses` now, or never. */
  onUnmap(iova: bigint, length: bigint): void;
}

/** Pins of accesses in one area; an entry goes with the last one. */
export interface AreaUse {
  count: number;
  /** Of them, those that nobody may take away. */
  lockCount: number;
  /** An unmap waits: no new pins. */
  isEnding: boolean;
}

export class Ioas {
  readonly kind = 'ioas';
  id = 0;
  areas = new AreaIndex();
  /** In the order in which they joined. */
  readonly domains: Hwpt[] = [];
  readonly accesses = new Set<IoasAccess>();
  readonly uses = new Map<Area, AreaUse>();
  allowed = new IntervalIndex<IovaRange>();
  /** False: every entry of a page table is one page, so that areas can be cut. */
  hasHugePages = true;
  /** Alignment less 1, of a byte to a page. */
  alignmentMask = 0n;
  #reserved: readonly Reservation[] = [];

  /** Ranges without any reservation, ascending. */
  freeRanges(): IovaRange[] {
    return holesOf(this.#reserved, 0n, u64Max);
  }

  meetsReserved(start: bigint, last: bigint): boolean {
    const reserved = this.#reserved;
    for (let index = 0; index < reserved.length; index++) {
      const range = reserved[index]!;
      if (range.start <= last && range.last >= start) return true;
    }
    return false;
  }

  /** As `meetsReserved` for [at, end), `end` up to 2^53. */
  meetsReservedLow(at: number, end: number): boolean {
    const reserved = this.#reserved;
    for (let index = 0; index < reserved.length; index++) {
      const range = reserved[index]!;
      if (range.at < end && range.lastAt >= at) return true;
    }
    return false;
  }

  /** Reserved ranges and areas together, ascending. */
  *used(): Generator<IovaRange> {
    const reserved = [...this.#reserved].sort((a, b) => compare(a.start, b.start));
    let next = 0;
    for (const area of this.areas) {
      while (next < reserved.length && reserved[next]!.start < area.start) yield reserved[next++]!;
      yield area;
    }
    while (next < reserved.length) yield reserved[next++]!;
  }

  /** @throws OsError `EADDRINUSE` when an area or an allowed range is in the way. */
  checkReservable(ranges: readonly IovaRange[], call: string): void {
    for (const { start, last } of ranges) {
      if (this.areas.firstMeeting(start, last) ?? this.allowed.firstMeeting(start, last)) {
        throw fail('EADDRINUSE', call, 'a reserved range is in use');
      }
    }
  }

  /** All or nothing. @throws OsError `EADDRINUSE` */
  reserve(ranges: readonly IovaRange[], owner: object, call: string): void {
    this.checkReservable(ranges, call);
    const more = ranges.map(({ start, last }) => {
      return { start, last, owner, at: Number(start), lastAt: Number(last) };
    });
    this.#reserved = [...this.#reserved, ...more];
  }

  unreserve(owner: object): void {
    this.#reserved = this.#reserved.filter((range) => range.owner !== owner);
  }

  /**
   * What addresses, lengths and offsets are multiples of: the largest that any user of the IOAS
   * needs.
   */
  get alignment(): bigint {
    return this.alignmentMask + 1n;
  }

  /**
   * Before a user with pages of this size joins.
   *
   * @throws OsError `EINVAL` when it is over a page, `EADDRINUSE` when an area does not fit
   */
  checkAlignment(smallestPageBytes: number, call: string): void {
    if (smallestPageBytes > pageBytes) throw fail('EINVAL', call, 'pages that are too large');
    const mask = BigInt(smallestPageBytes - 1);
    if (mask <= this.alignmentMask) return;
    for (const { start, last, sourceStart } of this.areas) {
      if (((start | (last + 1n) | BigInt(sourceStart)) & mask) !== 0n) {
        throw fail('EADDRINUSE', call, `an area is not aligned to ${smallestPageBytes} bytes`);
      }
    }
  }

  /** After a user joined or left. @throws OsError `EADDRINUSE`, with nothing changed */
  updateAlignment(call: string): void {
    let largest = this.hasHugePages ? 1 : pageBytes;
    for (const user of this.domains) largest = Math.max(largest, user.pageBytes);
    for (const user of this.accesses) largest = Math.max(largest, user.pageBytes);
    this.checkAlignment(largest, call);
    this.alignmentMask = BigInt(largest - 1);
  }
}

/** What is left of [first, last] outside of some ranges, ascending. */
export function holesOf(ranges: readonly IovaRange[], first: bigint, last: bigint): IovaRange[] {
  const sorted = [...ranges].sort((a, b) => compare(a.start, b.start));
  const holes: IovaRange[] = [];
  let at = first;
  for (const range of sorted) {
    if (range.start > at) holes.push({ start: at, last: minimum(range.start - 1n, last) });
    if (range.last >= at) at = range.last + 1n;
    if (at > last) return holes;
  }
  holes.push({ start: at, last });
  return holes;
}

export function compare(one: bigint, other: bigint): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

export function minimum(one: bigint, other: bigint): bigint {
  return one < other ? one : other;
}

export function maximum(one: bigint, other: bigint): bigint {
  return one > other ? one : other;
}
