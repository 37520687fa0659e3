// Numbers for address spaces, broker-wide. 0 means "no PASID" and is never given. A number is
// used again as late as possible: first those never used, then the one unused for longest, so that
// a DMA that comes late finds nobody for as long as there are others.
import { assert, LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';

const pasidBitsMax = 20;

/** Who pays for a number in use. */
interface Payer {
  readonly uid: number;
  quarantined: boolean;
}

export interface PasidPoolOptions {
  /** Width of a PASID of the function; 0: it sends none. PCIe knows no more than 20. */
  readonly bits: number;
  /** Numbers of one uid at a time. Default `limits.pasidsPerUidMax`. */
  readonly perUidMax?: number;
}

export class PasidPool {
  readonly #end: number;
  readonly #perUidMax: number;
  #fresh = 1;
  readonly #taken = new Map<number, Payer>();
  readonly #countOfUid = new Map<number, number>();
  #quarantinedCount = 0;
  /** Freed numbers in order of their freeing; a Set keeps that order. */
  readonly #freed = new Set<number>();

  constructor({ bits, perUidMax = limits.pasidsPerUidMax }: PasidPoolOptions) {
    assert(Number.isInteger(bits) && bits >= 0, `${bits} PASID bits`);
    this.#end = 2 ** Math.min(bits, pasidBitsMax);
    this.#perUidMax = perUidMax;
  }

  /** Numbers in use, those in quarantine included. */
  get takenCount(): number {
    return this.#taken.size;
  }

  get quarantinedCount(): number {
    return this.#quarantinedCount;
  }

  /** Numbers that a uid pays for, those in quarantine included. */
  countOf(uid: number): number {
    return this.#countOfUid.get(uid) ?? 0;
  }

  /**
   * A number in 1..2^bits-1 that nobody uses, at the expense of `uid`.
   *
   * @throws LessorError `QUOTA_EXCEEDED` when the uid has its share, or all are in use.
   */
  allocate(uid: number): number {
    const count = this.countOf(uid);
    if (count >= this.#perUidMax) {
      throw new LessorError('QUOTA_EXCEEDED', `uid ${uid} has ${count} PASIDs`, {
        hint: 'end a lease of this uid, or release what it has in quarantine',
      });
    }
    const pasid = this.#next();
    if (pasid === undefined) {
      const detail = `all ${this.#end - 1} PASIDs are in use, ${this.#quarantinedCount} in quarantine`;
      throw new LessorError('QUOTA_EXCEEDED', detail, {
        hint: 'end a lease, or release what is in quarantine',
      });
    }
    this.#taken.set(pasid, { uid, quarantined: false });
    this.#countOfUid.set(uid, count + 1);
    return pasid;
  }

  /** Keeps a number out of use until it is freed: its slice was not proved idle. */
  quarantine(pasid: number): void {
    const payer = this.#payerOf(pasid);
    if (!payer.quarantined) this.#quarantinedCount += 1;
    payer.quarantined = true;
  }

  /** The device can no longer present it: idle, ungranted, invalidation acknowledged. */
  free(pasid: number): void {
    const { uid, quarantined } = this.#payerOf(pasid);
    this.#taken.delete(pasid);
    if (quarantined) this.#quarantinedCount -= 1;
    const count = this.countOf(uid) - 1;
    if (count === 0) this.#countOfUid.delete(uid);
    else this.#countOfUid.set(uid, count);
    this.#freed.add(pasid);
  }

  #payerOf(pasid: number): Payer {
    const payer = this.#taken.get(pasid);
    assert(payer !== undefined, `PASID ${pasid} is not in use`);
    return payer;
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
