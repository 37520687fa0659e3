// Numbers for address spaces, broker-wide. 0 means "no PASID" and is never given. A number is
// used again as late as possible: first those never used, then the one unused for longest.
import { assert } from '../base/errors.js';

const pasidBitsMax = 20;

export class PasidPool {
  readonly #end: number;
  #fresh = 1;
  readonly #taken = new Set<number>();
  readonly #quarantined = new Set<number>();
  /** Freed numbers in order of their freeing; a Set keeps that order. */
  readonly #freed = new Set<number>();

  /** @param bits - Width of a PASID; 0: the function sends none. PCIe knows no more than 20. */
  constructor(bits: number) {
    assert(Number.isInteger(bits) && bits >= 0, `${bits} PASID bits`);
    this.#end = 2 ** Math.min(bits, pasidBitsMax);
  }

  /** Numbers in use, those in quarantine included. */
  get takenCount(): number {
    return this.#taken.size;
  }

  get quarantinedCount(): number {
    return this.#quarantined.size;
  }

  /** A number in 1..2^bits-1, or undefined when all are in use. */
  allocate(): number | undefined {
    const pasid = this.#next();
    if (pasid !== undefined) this.#taken.add(pasid);
    return pasid;
  }

  /** Keeps a number out of use until it is freed: its slice was not proved idle. */
  quarantine(pasid: number): void {
    assert(this.#taken.has(pasid), `PASID ${pasid} is not in use`);
    this.#quarantined.add(pasid);
  }

  /** The device can no longer present it: idle, ungranted, invalidation acknowledged. */
  free(pasid: number): void {
    assert(this.#taken.delete(pasid), `PASID ${pasid} is not in use`);
    this.#quarantined.delete(pasid);
    this.#freed.add(pasid);
  }

  #next(): number | undefined {
    if (this.#fresh < this.#end) {
      this.#fresh += 1;
      return this.#fresh - 1;
    }
    for (const pasid of this.#freed) {
      this.#freed.delete(pasid);
      return pasid;
    }
    return undefined;
  }
}
