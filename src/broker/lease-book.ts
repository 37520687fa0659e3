// The leases that live, and for a while the ids of those that have ended.
import { LessorError } from '../base/errors.js';
import type { BrokerLease } from './lease.js';

/** Ids of ended leases that are remembered, to tell "ended" and "stale" from "never was". */
const endedIdsMax = 4096;

export class LeaseBook {
  readonly #live = new Map<string, BrokerLease>();
  /** Ended, but their endpoints still answer ENODEV. */
  readonly #lingering = new Set<BrokerLease>();
  readonly #endedEpochs = new Map<string, number>();

  add(lease: BrokerLease): void {
    this.#live.set(lease.terms.id, lease);
  }

  /** Moves a lease to those that only linger. */
  retire(lease: BrokerLease): void {
    this.#live.delete(lease.terms.id);
    this.#lingering.add(lease);
    this.#endedEpochs.set(lease.terms.id, lease.terms.epoch);
    for (const oldest of this.#endedEpochs.keys()) {
      if (this.#endedEpochs.size <= endedIdsMax) break;
      this.#endedEpochs.delete(oldest);
    }
  }

  forget(lease: BrokerLease): void {
    this.#lingering.delete(lease);
  }

  get live(): readonly BrokerLease[] {
    return [...this.#live.values()];
  }

  get lingering(): readonly BrokerLease[] {
    return [...this.#lingering];
  }

  get liveCount(): number {
    return this.#live.size;
  }

  /** Live, quarantined and lingering leases of one uid. */
  countOf(uid: number): number {
    let count = 0;
    for (const lease of this.#live.values()) if (lease.terms.uid === uid) count += 1;
    for (const lease of this.#lingering) if (lease.terms.uid === uid) count += 1;
    return count;
  }

  /** Bytes of windows that stay, or will stay, with holders of this uid: see `orphan`. */
  orphanBytesOf(uid: number): number {
    let sum = 0;
    for (const { terms } of [...this.#live.values(), ...this.#lingering]) {
      if (terms.uid !== uid || terms.revocation !== 'orphan') continue;
      for (const region of terms.layout.regions) sum += region?.mappedBytes ?? 0;
    }
    return sum;
  }

  /**
   * A live lease by its id.
   *
   * @throws LessorError `LEASE_STALE` of an earlier epoch, `LEASE_ENDED`, `LEASE_NOT_FOUND`.
   */
  find(id: string, currentEpoch: number): BrokerLease {
    const lease = this.#live.get(id);
    if (lease !== undefined) return lease;
    const epoch = this.#endedEpochs.get(id);
    if (epoch === undefined) throw new LessorError('LEASE_NOT_FOUND', `no lease ${id}`);
    if (epoch !== currentEpoch) {
      throw new LessorError('LEASE_STALE', `lease ${id} is of epoch ${epoch}, now ${currentEpoch}`);
    }
    throw new LessorError('LEASE_ENDED', `lease ${id} has ended`);
  }
}
