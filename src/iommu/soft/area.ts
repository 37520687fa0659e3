// A mapped interval of an IOAS, and which bytes of its memory source it shows.
import { IOMMU_IOAS_MAP_WRITEABLE } from '../../uapi/iommufd.js';
import type { DmaAccount } from '../types.js';
import type { Extent, ExtentUser } from './extents.js';
import type { Interval } from './interval-index.js';
import type { Ioas } from './ioas.js';
import type { LowInterval } from './low-intervals.js';
import type { Pages } from './pages.js';

export class Area implements Interval, LowInterval, ExtentUser {
  readonly ioas: Ioas;
  /** READABLE and WRITEABLE. */
  readonly protection: number;
  readonly account: DmaAccount | undefined;
  /** First byte, and one past the last. Exact when `isLow`; every area in a table is. */
  readonly at: number;
  readonly end: number;
  /** The first byte in the source, as `Pages` counts: a bigint where a number may not be exact. */
  readonly sourceStart: number | bigint;
  /** Undefined: a file, placed, of which no other area knows. Most areas are so. */
  pages: Pages | undefined;
  /** Placed memory, from the first domain on, in the source's bytes; not for unreachable memory. */
  extents: readonly Extent[] | undefined = undefined;
  /** The extents' own. */
  extentSlot = 0;
  readonly #exact: Interval | undefined;

  /** @param exact - The ends in u64, where numbers up to 2^53 do not reach. */
  constructor(
    ioas: Ioas,
    at: number,
    end: number,
    sourceStart: number | bigint,
    protection: number,
    account: DmaAccount | undefined,
    pages: Pages | undefined,
    exact: Interval | undefined,
  ) {
    this.ioas = ioas;
    this.at = at;
    this.end = end;
    this.sourceStart = sourceStart;
    this.protection = protection;
    this.account = account;
    this.pages = pages;
    this.#exact = exact;
  }

  get isLow(): boolean {
    return this.#exact === undefined;
  }

  get start(): bigint {
    return this.#exact === undefined ? BigInt(this.at) : this.#exact.start;
  }

  get last(): bigint {
    return this.#exact === undefined ? BigInt(this.end) - 1n : this.#exact.last;
  }

  get length(): bigint {
    return this.last - this.start + 1n;
  }

  /** False: no copy may be writable either. */
  get isSourceWritable(): boolean {
    if (this.pages !== undefined) return this.pages.isWritable;
    return (this.protection & IOMMU_IOAS_MAP_WRITEABLE) !== 0;
  }

  /** Memory that only messages reach: nothing to place. */
  get isUnreachable(): boolean {
    return this.pages?.kind === 'unreachable';
  }

  /** Its source was taken away: it only blocks its addresses. */
  get isRevoked(): boolean {
    return this.pages?.isRevoked === true;
  }
}

/** An area anywhere in the space of u64. */
export function createArea(
  ioas: Ioas,
  start: bigint,
  length: bigint,
  sourceStart: bigint,
  protection: number,
  account: DmaAccount | undefined,
  pages: Pages | undefined,
): Area {
  const last = start + length - 1n;
  const exact = last < exactEnd ? undefined : { start, last };
  const source = sourceStart < exactEnd ? Number(sourceStart) : sourceStart;
  const end = Number(last) + 1;
  return new Area(ioas, Number(start), end, source, protection, account, pages, exact);
}

const exactEnd = 2 ** 53;
