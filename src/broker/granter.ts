// From a request to a granted lease: verdict, slice, queue, PASID, IOVA window.
import { assert, LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { RunningDriver, Slice } from '../driver/types.js';
import { type Aperture, type IovaRange, IovaWindows } from '../lease/iova-windows.js';
import { PasidPool } from '../lease/pasid-pool.js';
import { type Fit, type Waiter, WaitQueue } from '../lease/wait-queue.js';
import type { Fd } from '../os/fd.js';
import { decide, isAlone } from '../policy/decide.js';
import type {
  AcquireRequest,
  Facts,
  PeerFacts,
  LeaseTerms as PolicyTerms,
} from '../policy/types.js';
import type { BrokerContext } from './context.js';
import { HolderProcess } from './holder-process.js';
import type { Inventory } from './inventory.js';
import { BrokerLease } from './lease.js';
import { leaseAperture } from './lease-aperture.js';
import type { LeaseBook } from './lease-book.js';
import { layoutFor, type OfferFacts, offerOf } from './slice-offer.js';

interface Waiting extends Waiter {
  readonly request: AcquireRequest;
  readonly serve: (slice: Slice) => void;
  readonly refuse: (error: LessorError) => void;
}

/** Who asks, by name and by descriptor. */
export interface Applicant {
  readonly peer: PeerFacts;
  /** Of the peer. Not owned; open until the request is answered. */
  readonly pidfd: Fd;
}

export class Granter {
  readonly #context: BrokerContext;
  readonly #inventory: Inventory;
  readonly #book: LeaseBook;
  readonly #driver: RunningDriver;
  readonly #aperture: Aperture;
  readonly #pasids: PasidPool;
  readonly #iovas: IovaWindows;
  readonly #queue = new WaitQueue<Waiting>();
  #draining = false;
  #held = false;
  #closed: LessorError | undefined;

  /** @throws LessorError `DRIVER_INVALID` when the driver leaves leases no memory */
  constructor(
    context: BrokerContext,
    inventory: Inventory,
    book: LeaseBook,
    driver: RunningDriver,
  ) {
    const { info } = context.fn;
    this.#context = context;
    this.#inventory = inventory;
    this.#book = book;
    this.#driver = driver;
    this.#aperture = leaseAperture(info, driver);
    this.#pasids = new PasidPool({ bits: info.pasidBits });
    this.#iovas = new IovaWindows(this.#aperture, info.iovaPageBytes, info.reservedIovas);
  }

  /** PASIDs in use, those in quarantine included. */
  get pasidCount(): number {
    return this.#pasids.takenCount;
  }

  /** Bytes of IOVA windows in use. */
  get iovaBytes(): number {
    return this.#iovas.takenBytes;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** From now on every request is denied, those that wait too. */
  drain(): void {
    this.#draining = true;
    this.#refuseWaiting(new LessorError('DENIED', 'the broker drains: it gives no new lease'));
  }

  /** While held, requests that may wait do so and others are told that nothing is free. */
  hold(held: boolean): void {
    this.#held = held;
    if (!held) this.pump();
  }

  /** The function is gone for good: every request is told so. */
  lose(detail: string): void {
    this.#close(new LessorError('FUNCTION_GONE', detail));
  }

  /** The broker ends: what it takes back is for nobody. */
  stop(): void {
    this.#close(new LessorError('BROKER_GONE', 'the broker ends'));
  }

  #close(error: LessorError): void {
    this.#closed ??= error;
    this.#refuseWaiting(error);
  }

  #refuseWaiting(error: LessorError): void {
    for (const waiter of this.#queue) {
      this.#queue.cancel(waiter.id);
      waiter.refuse(error);
    }
  }

  /**
   * Grants a lease, waiting for a slice as long as the request allows.
   *
   * @param gone - Aborts when the peer has gone away.
   * @throws LessorError what policy says; `NO_FREE_SLICE` naming the holders; `DRIVER_FAILED`;
   *   `FUNCTION_GONE`, `BROKER_GONE`.
   */
  async acquire(
    request: AcquireRequest,
    applicant: Applicant,
    gone: AbortSignal,
  ): Promise<BrokerLease> {
    if (this.#closed !== undefined) throw this.#closed;
    const candidates = this.#inventory.candidates({
      ...(request.kind === undefined ? {} : { kind: request.kind }),
      ...(request.slice === undefined ? {} : { slice: request.slice }),
    });
    const verdict = decide(request, this.#factsFor(applicant.peer, candidates));
    if ('deny' in verdict) {
      const { code, detail, hint } = verdict;
      throw new LessorError(code, detail, hint === undefined ? {} : { hint });
    }
    const slice = this.#mayOvertake(request) ? this.#freeSlice(request) : undefined;
    const lease =
      slice === undefined
        ? await this.#wait(request, verdict.terms, applicant, gone)
        : this.#make(slice, verdict.terms, applicant);
    const stop = (): void => {
      lease.dispatch({ type: 'holderGone' });
    };
    gone.addEventListener('abort', stop, { once: true });
    if (gone.aborted) stop();
    try {
      await lease.granted;
    } finally {
      gone.removeEventListener('abort', stop);
    }
    return lease;
  }

  /** Serves whoever can be served now; called when a slice became free. */
  pump(): void {
    for (;;) {
      const waiter = this.#queue.take((candidate) => this.#judge(candidate));
      if (waiter === undefined) return;
      // Leased in the same turn in which it was found free.
      waiter.serve(this.#freeSlice(waiter.request) as Slice);
    }
  }

  /** False while somebody waits for the whole function whom this request would keep waiting. */
  #mayOvertake({ priority }: AcquireRequest): boolean {
    return ![...this.#queue].some(
      (waiter) => waiter.priority >= priority && this.#judge(waiter) === 'hold',
    );
  }

  #judge({ request }: Waiting): Fit {
    if (this.#freeSlice(request) !== undefined) return 'take';
    return isAlone(request, this.#driver) ? 'hold' : 'pass';
  }

  /** A slice that this request could have now. */
  #freeSlice(request: AcquireRequest): Slice | undefined {
    if (this.#held) return undefined;
    const live = this.#book.live;
    const alone = isAlone(request, this.#driver);
    if (alone ? live.length > 0 : live.some((lease) => lease.terms.exclusive)) return undefined;
    return this.#inventory.slices.find(
      (slice) =>
        (request.slice === undefined || slice.name === request.slice) &&
        (request.kind === undefined || slice.kind === request.kind) &&
        this.#inventory.isFree(slice),
    );
  }

  #wait(
    request: AcquireRequest,
    terms: PolicyTerms,
    applicant: Applicant,
    gone: AbortSignal,
  ): Promise<BrokerLease> {
    if (terms.waitMs === 0 || gone.aborted) throw this.#busyError(request);
    const id = this.#context.os.randomHex(16);
    return new Promise((resolve, reject) => {
      const stopWaiting = (): void => {
        timer[Symbol.dispose]();
        gone.removeEventListener('abort', giveUp);
      };
      const refuse = (error: LessorError): void => {
        stopWaiting();
        reject(error);
      };
      const giveUp = (): void => {
        if (this.#queue.cancel(id) !== undefined) refuse(this.#busyError(request));
      };
      const serve = (slice: Slice): void => {
        stopWaiting();
        try {
          resolve(this.#make(slice, terms, applicant));
        } catch (error) {
          reject(error);
        }
      };
      const timer = this.#context.os.clock.after(terms.waitMs, giveUp);
      gone.addEventListener('abort', giveUp, { once: true });
      try {
        const { uid } = applicant.peer;
        this.#queue.add({ id, uid, priority: terms.priority, request, serve, refuse });
      } catch (error) {
        stopWaiting();
        reject(error);
      }
    });
  }

  #busyError(request: AcquireRequest): LessorError {
    const holders = this.#inventory
      .holders(this.#inventory.slices)
      .map(({ slice, leaseId, state }) => {
        const lease = this.#book.live.find((candidate) => candidate.terms.id === leaseId);
        const holder = `uid ${lease?.terms.uid} pid ${lease?.terms.pid}`;
        const who = state === 'leased' ? holder : 'in quarantine';
        return `${slice}: ${leaseId.slice(0, 8)} ${who}`;
      });
    const what = request.slice ?? request.kind ?? 'any slice';
    const shown = holders.slice(0, 8).join('; ');
    const more = holders.length > 8 ? `; and ${holders.length - 8} more` : '';
    return new LessorError('NO_FREE_SLICE', `${what} is not free: ${shown}${more}`);
  }

  #factsFor(peer: PeerFacts, candidates: readonly Slice[]): Facts {
    const { switches, os } = this.#context;
    const [slice] = candidates;
    assert(slice !== undefined, 'candidates are never empty');
    const { uid: brokerUid, pid: brokerPid } = os.processes;
    return {
      peer,
      brokerUid,
      brokerPid,
      switches,
      offer: offerOf(slice, this.#offerFacts, this.#driver.isolation, this.#aperture),
      usage: {
        leasesOfUid: this.#book.countOf(peer.uid) + this.#queue.countOf(peer.uid),
        orphanBytesOfUid: this.#book.orphanBytesOf(peer.uid),
        draining: this.#draining,
      },
      limits: { ...limits },
    };
  }

  /** @throws LessorError `QUOTA_EXCEEDED`; OsError EMFILE */
  #make(slice: Slice, terms: PolicyTerms, { peer, pidfd }: Applicant): BrokerLease {
    const { os } = this.#context;
    const { pasid, iovaWindow } = this.#pickAddresses(terms, peer.uid);
    const holder = this.#holderOf(terms, pidfd, iovaWindow);
    const id = os.randomHex(16);
    const vectorList = slice.vectors.slice(0, terms.vectors);
    const lease = new BrokerLease(
      this.#context,
      {
        ...terms,
        id,
        slice,
        layout: layoutFor(slice, this.#offerFacts, terms.revocation, vectorList.length),
        uid: peer.uid,
        pid: peer.pid,
        mapped: terms.revocation !== 'mediated',
        epoch: this.#context.epoch,
        pasid,
        iovaWindow,
        bounded: this.#driver.isolation === 'device-bounds',
        vectorList,
        createdMs: Math.round(os.clock.wallMs()),
      },
      {
        free: () => this.#free(lease),
        quarantine: () => {
          this.#inventory.quarantine(slice, id);
          if (pasid !== undefined) this.#pasids.quarantine(pasid);
        },
      },
      holder,
    );
    this.#inventory.lease(slice, id);
    this.#book.add(lease);
    lease.dispatch({ type: 'grant' });
    return lease;
  }

  get #offerFacts(): OfferFacts {
    const { fn, os } = this.#context;
    return { info: fn.info, pageBytes: os.memory.pageBytes };
  }

  /** The process that gets the device, for a lease of it. No such lease has a PASID. */
  #holderOf(
    { revocation }: PolicyTerms,
    pidfd: Fd,
    iovaWindow: IovaRange,
  ): HolderProcess | undefined {
    if (revocation !== 'process') return undefined;
    try {
      return new HolderProcess({ ...this.#context, pidfd });
    } catch (error) {
      this.#iovas.free(iovaWindow);
      throw error;
    }
  }

  #pickAddresses(
    terms: PolicyTerms,
    uid: number,
  ): { pasid: number | undefined; iovaWindow: IovaRange } {
    const iovaWindow = this.#pickWindow(terms);
    if (terms.isolation !== 'pasid') return { pasid: undefined, iovaWindow };
    try {
      return { pasid: this.#pasids.allocate(uid), iovaWindow };
    } catch (error) {
      if (!terms.listen) this.#iovas.free(iovaWindow);
      throw error;
    }
  }

  /** A guest has its memory where it likes; policy saw to it that nobody else maps there. */
  #pickWindow(terms: PolicyTerms): IovaRange {
    const { iovaPageBytes } = this.#context.fn.info;
    if (terms.listen) {
      const { start, end } = this.#aperture;
      return { base: start, lengthBytes: end - start };
    }
    const iovaWindow = this.#iovas.allocate(Math.max(terms.memoryBytes, iovaPageBytes));
    if (iovaWindow !== undefined) return iovaWindow;
    throw new LessorError('QUOTA_EXCEEDED', 'no IOVA window of that size is left');
  }

  #free(lease: BrokerLease): void {
    const { slice, pasid, iovaWindow, listen } = lease.terms;
    this.#inventory.release(slice);
    if (pasid !== undefined) this.#pasids.free(pasid);
    if (!listen) this.#iovas.free(iovaWindow);
    this.#book.retire(lease);
    lease.onGone(() => this.#book.forget(lease));
    this.pump();
  }
}
