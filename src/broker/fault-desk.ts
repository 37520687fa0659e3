// Where every report of refused DMA arrives, from the driver and from the function, and from where
// it is told: as an event of the lease whose it is, else of the function.
import type { Clock } from '../base/clock.js';
import { limits } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import { hex } from '../base/units.js';
import type { SliceFault } from '../driver/types.js';
import type { DmaFault } from '../function/types.js';
import type { Access } from '../iommu/types.js';
import type { EventDetails } from './event-hub.js';
import { type FaultTerms, leaseOfFault, refinedReason } from './fault-attribution.js';
import { FaultGate, type FaultSource } from './fault-gate.js';

/** What is told of a flood, once a second. */
const summaryMs = 1000;

export interface FaultyLease {
  readonly terms: FaultTerms & { readonly id: string; readonly slice: { readonly name: string } };
  readonly resources: { accessAt(iova: number): Access | undefined };
  publish(details: EventDetails): void;
}

export interface FaultDeskParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly leases: () => readonly FaultyLease[];
  /** For what is no lease's. */
  readonly publish: (details: EventDetails) => void;
}

interface Subject {
  readonly gate: FaultGate;
  droppedCount: number;
  summary: Disposable | undefined;
}

export class FaultDesk implements Disposable {
  readonly #parts: FaultDeskParts;
  readonly #ofLeases = new WeakMap<FaultyLease, Subject>();
  readonly #ofNobody = newSubject();
  readonly #waiting = new Set<Subject>();

  constructor(parts: FaultDeskParts) {
    this.#parts = parts;
  }

  /** The function saw DMA of its device refused. */
  fromFunction(fault: DmaFault): void {
    const { pasid: _pasid, ...seen } = fault;
    const lease = leaseOfFault(fault, this.#parts.leases());
    const mapped = lease?.resources.accessAt(fault.iova);
    const reason = refinedReason(fault.reason, fault.access, mapped);
    this.#report('function', lease, undefined, { ...seen, reason });
  }

  /** A driver's device says that DMA of this slice was refused. */
  fromDriver(slice: string, fault: SliceFault): void {
    const lease = this.#parts.leases().find(({ terms }) => terms.slice.name === slice);
    this.#report('driver', lease, slice, fault);
  }

  [Symbol.dispose](): void {
    for (const subject of this.#waiting) subject.summary?.[Symbol.dispose]();
    this.#waiting.clear();
  }

  #report(
    source: FaultSource,
    lease: FaultyLease | undefined,
    slice: string | undefined,
    fault: SliceFault,
  ): void {
    const subject = this.#subjectOf(lease);
    const tell = (details: EventDetails): void => {
      // A summary may come when the lease has ended: nobody listens there any more.
      if (lease !== undefined && this.#parts.leases().includes(lease)) lease.publish(details);
      else this.#parts.publish(slice === undefined ? details : { ...details, slice });
    };
    const verdict = subject.gate.judge({ source, ...fault }, this.#parts.clock.nowMs());
    if (verdict === 'same') return;
    if (verdict === 'too many') {
      this.#count(subject, fault, tell);
      return;
    }
    tell({ type: 'fault', fault });
    this.#parts.log.info('dma refused', {
      slice: lease?.terms.slice.name ?? slice,
      lease: lease?.terms.id,
      iova: hex(fault.iova),
      access: fault.access,
      reason: fault.reason,
    });
  }

  /** Told soon, by their number and the first of them. */
  #count(subject: Subject, fault: SliceFault, tell: (details: EventDetails) => void): void {
    subject.droppedCount += 1;
    if (subject.summary !== undefined) return;
    this.#waiting.add(subject);
    subject.summary = this.#parts.clock.after(summaryMs, () => {
      const { droppedCount } = subject;
      this.#waiting.delete(subject);
      subject.summary = undefined;
      subject.droppedCount = 0;
      tell({ type: 'fault', fault, outcome: `one of ${droppedCount} that were too many to tell` });
      this.#parts.log.warn('dma refused too often to tell', { droppedCount });
    });
  }

  #subjectOf(lease: FaultyLease | undefined): Subject {
    if (lease === undefined) return this.#ofNobody;
    const known = this.#ofLeases.get(lease);
    if (known !== undefined) return known;
    const subject = newSubject();
    this.#ofLeases.set(lease, subject);
    return subject;
  }
}

function newSubject(): Subject {
  return {
    gate: new FaultGate(limits.faultsPerSecondMax),
    droppedCount: 0,
    summary: undefined,
  };
}
