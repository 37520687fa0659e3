// Opens leases for peers and keeps what belongs to each: endpoint, tenure, descriptor.
import type { EndReason } from '../lease/types.js';
import type { Fd } from '../os/fd.js';
import type { HelperPool } from '../os/helper-types.js';
import type { AcquireRequest } from '../policy/types.js';
import type { VarlinkCall } from '../varlink/call.js';
import type { EventRecord, LeaseRecord } from '../varlink/interface.js';
import { serveVfioUser } from '../vfio-user/server.js';
import type { BrokerContext } from './context.js';
import type { EventDetails } from './event-hub.js';
import type { Granter } from './granter.js';
import type { BrokerLease } from './lease.js';
import type { LeaseBook } from './lease-book.js';
import { LeaseEndpoint } from './lease-endpoint.js';
import { leaseRecord } from './records.js';
import { TenureWatch } from './tenure-watch.js';

export interface OpenedLease {
  readonly lease: BrokerLease;
  /** The client's end of the lease fd; the caller owns it. */
  readonly fd: Fd;
  readonly record: LeaseRecord;
}

export class LeaseDesk {
  readonly #context: BrokerContext;
  readonly #helpers: HelperPool;
  readonly #granter: Granter;
  readonly #book: LeaseBook;
  readonly #tenures = new Map<string, TenureWatch>();

  constructor(context: BrokerContext, helpers: HelperPool, granter: Granter, book: LeaseBook) {
    this.#context = context;
    this.#helpers = helpers;
    this.#granter = granter;
    this.#book = book;
  }

  /** Grants a lease to the peer of `call` and serves its fd. */
  async open(request: AcquireRequest, call: VarlinkCall): Promise<OpenedLease> {
    const pidfd = call.peerPidfd();
    let watched = false;
    try {
      const lease = await this.#granter.acquire(request, call.credentials, call.closed);
      try {
        const tenure = new TenureWatch(this.#context.os, lease, pidfd);
        watched = true;
        this.#tenures.set(lease.terms.id, tenure);
        void lease.settled.then(() => this.#close(lease));
        const fd = this.#serve(lease, tenure);
        return { lease, fd, record: leaseRecord(lease, tenure.expiresMs) };
      } catch (error) {
        // No descriptor left for its fd, say: nobody would hold it.
        lease.dispatch({ type: 'release' });
        throw error;
      }
    } finally {
      if (!watched) pidfd.close();
    }
  }

  /** The connection on which a lease was acquired is over. */
  connectionGone(lease: BrokerLease): void {
    this.#tenures.get(lease.terms.id)?.sign('controlClosed');
  }

  records(): LeaseRecord[] {
    return this.#book.live.map((lease) =>
      leaseRecord(lease, this.#tenures.get(lease.terms.id)?.expiresMs),
    );
  }

  stamp(details: EventDetails): EventRecord {
    return { atMs: Math.round(this.#context.os.clock.wallMs()), ...details };
  }

  /** @throws LessorError `LEASE_NOT_FOUND`, `LEASE_ENDED`, `LEASE_STALE` */
  isAcquirer(id: string, pidfd: Fd): boolean {
    const lease = this.#book.find(id, this.#context.epoch);
    return this.#tenures.get(lease.terms.id)?.isAcquirer(pidfd) ?? false;
  }

  /** @returns The new end in wall milliseconds. */
  renew(id: string, ttlMs: number): number {
    const lease = this.#book.find(id, this.#context.epoch);
    lease.checkUse('renew');
    const tenure = this.#tenures.get(lease.terms.id);
    tenure?.renew(ttlMs);
    return Math.round(tenure?.expiresMs ?? 0);
  }

  /** Resolves when the reclaim is over. */
  async release(id: string): Promise<void> {
    const lease = this.#book.find(id, this.#context.epoch);
    lease.checkUse('release');
    lease.dispatch({ type: 'release' });
    await lease.settled;
  }

  /** Ends a lease against its holder's will; resolves when its reclaim has begun. */
  revoke(id: string, detail: string, graceMs: number): void {
    const lease = this.#book.find(id, this.#context.epoch);
    lease.checkUse('release');
    lease.dispatch({ type: 'revoke', detail, graceMs });
  }

  /** Takes every lease back. Resolves when all are. */
  async stop(): Promise<readonly EndReason[]> {
    this.#granter.stop();
    const leases = this.#book.live;
    for (const lease of leases) lease.dispatch({ type: 'brokerStop' });
    await Promise.all(leases.map((lease) => lease.settled));
    for (const lease of [...this.#book.lingering, ...leases]) lease.closeConnection();
    return leases.flatMap((lease) => (lease.state.reason ? [lease.state.reason] : []));
  }

  #serve(lease: BrokerLease, tenure: TenureWatch): Fd {
    const { os, bug } = this.#context;
    const [ours, theirs] = os.sockets.pair();
    const endpoint = new LeaseEndpoint(this.#context, lease, {
      onEndOfFile: (farewell) => {
        if (farewell) lease.dispatch({ type: 'release' });
        else tenure.sign('endOfFile');
      },
    });
    const connection = serveVfioUser(os.sockets.stream(ours), endpoint, {
      clock: os.clock,
      screen: { helpers: this.#helpers, uid: lease.terms.uid },
      onBug: bug,
    });
    lease.attach({
      fence: () => connection.fence('ENODEV'),
      close: () => connection.close(),
    });
    return theirs;
  }

  #close(lease: BrokerLease): void {
    this.#tenures.get(lease.terms.id)?.[Symbol.dispose]();
    this.#tenures.delete(lease.terms.id);
  }
}
