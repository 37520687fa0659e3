// A mapped interval of an IOAS, and where its memory comes from.
import type { Fd } from '../../os/fd.js';
import type { DmaAccount } from '../types.js';
import type { Extent, ExtentUser } from './extents.js';
import type { Interval } from './interval-index.js';
import type { Ioas } from './ioas.js';
import type { LowInterval } from './low-intervals.js';

export class Area implements Interval, LowInterval, ExtentUser {
  readonly ioas: Ioas;
  /** READABLE and WRITEABLE. */
  readonly protection: number;
  readonly account: DmaAccount | undefined;
  /** Memory that only messages reach: nothing to place. */
  readonly isUnreachable: boolean;
  /** First byte, and one past the last. Exact when `isLow`; every area in a table is. */
  readonly at: number;
  readonly end: number;
  /** Byte offset in the file: a bigint where a number may not be exact. */
  readonly fileStart: number | bigint;
  /** Kept from the map to the first domain, which places the memory. Owned. */
  file: Fd | undefined = undefined;
  /** Placed memory, from the first domain to the end of the area. */
  extents: readonly Extent[] | undefined = undefined;
  /** The extents' own. */
  extentSlot = 0;
  readonly #exact: Interval | undefined;

  /** @param exact - The ends in u64, where numbers up to 2^53 do not reach. */
  constructor(
    ioas: Ioas,
    at: number,
    end: number,
    fileStart: number | bigint,
    protection: number,
    account: DmaAccount | undefined,
    isUnreachable: boolean,
    exact: Interval | undefined,
  ) {
    this.ioas = ioas;
    this.at = at;
    this.end = end;
    this.fileStart = fileStart;
    this.protection = protection;
    this.account = account;
    this.isUnreachable = isUnreachable;
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
}
