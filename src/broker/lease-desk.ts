// Opens leases for peers and keeps what belongs to each: endpoint, tenure, descriptor.
import { LessorError } from '../base/errors.js';
import type { EndReason } from '../lease/types.js';
import type { Fd } from '../os/fd.js';
import type { HelperPool } from '../os/helper-types.js';
import type { StreamSocket } from '../os/socket-types.js';
import type { AcquireRequest } from '../policy/types.js';
import type { VarlinkCall } from '../varlink/call.js';
import type { EventRecord, LeaseRecord } from '../varlink/interface.js';
import { serveVfioUser, type VfioUserConnection } from '../vfio-user/server.js';
import type { BrokerContext } from './context.js';
import type { EventDetails } from './event-hub.js';
import type { Granter } from './granter.js';
import type { BrokerLease } from './lease.js';
import type { LeaseBook } from './lease-book.js';
import { type EndpointEvents, LeaseEndpoint } from './lease-endpoint.js';
import { ListenPost } from './listen-post.js';
import { leaseRecord } from './records.js';
import { TenureWatch } from './tenure-watch.js';

export interface OpenedLease {
  readonly lease: BrokerLease;
  /**
   * The client's end of the lease fd; the caller owns it. Absent: a peer will connect, or the
   * control connection was upgraded to the lease, and the call answered.
   */
  readonly fd: Fd | undefined;
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

  /**
   * Grants a lease to the peer of `call` and serves its fd.
   *
   * @param listener - Where the peer to be served will connect. Owned in every outcome.
   */
  async open(
    request: AcquireRequest,
    call: VarlinkCall,
    listener: Fd | undefined,
  ): Promise<OpenedLease> {
    let pidfd: Fd | undefined;
    try {
      if (listener !== undefined) this.#checkListener(listener);
      pidfd = call.peerPidfd();
      const applicant = { peer: call.credentials, pidfd };
      const lease = await this.#granter.acquire(request, applicant, call.closed);
      const acquirer = pidfd;
      pidfd = undefined;
      const { tenure, fd } = this.#open(lease, acquirer, listener, call);
      return { lease, fd, record: leaseRecord(lease, tenure.expiresMs) };
    } catch (error) {
      pidfd?.close();
      listener?.close();
      throw error;
    }
  }

  /** Takes ownership of both descriptors, also when this throws. */
  #open(
    lease: BrokerLease,
    pidfd: Fd,
    listener: Fd | undefined,
    call: VarlinkCall,
  ): { tenure: TenureWatch; fd: Fd | undefined } {
    let tenure: TenureWatch | undefined;
    try {
      tenure = new TenureWatch(this.#context.os, lease, pidfd);
      this.#tenures.set(lease.terms.id, tenure);
      void lease.settled.then(() => this.#close(lease));
      if (call.upgrade) this.#upgrade(lease, tenure, call);
      else if (listener !== undefined) this.#listen(lease, tenure, listener);
      else return { tenure, fd: this.#serve(lease, tenure) };
      return { tenure, fd: undefined };
    } catch (error) {
      if (tenure === undefined) pidfd.close();
      // No descriptor left for its fd, say: nobody would hold it.
      lease.dispatch({ type: 'release' });
      throw error;
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

  /** @throws LessorError `FD_REFUSED` */
  #checkListener(listener: Fd): void {
    if (this.#context.os.sockets.isListening(listener)) return;
    throw new LessorError('FD_REFUSED', 'the descriptor is no listening Unix stream socket');
  }

  #serve(lease: BrokerLease, tenure: TenureWatch): Fd {
    const { os } = this.#context;
    const [ours, theirs] = os.sockets.pair();
    this.#attach(lease, tenure, os.sockets.stream(ours));
    return theirs;
  }

  /** The control connection becomes the lease fd. */
  #upgrade(lease: BrokerLease, tenure: TenureWatch, call: VarlinkCall): void {
    const socket = call.handOver({ lease: leaseRecord(lease, tenure.expiresMs) });
    if (socket === undefined) lease.dispatch({ type: 'holderGone' });
    else this.#attach(lease, tenure, socket);
  }

  #attach(lease: BrokerLease, tenure: TenureWatch, socket: StreamSocket): void {
    const connection = this.#connect(lease, socket, {
      onEndOfFile: (farewell) => this.#endOfFile(lease, tenure, farewell),
    });
    lease.attach({
      fence: () => connection.fence('ENODEV'),
      close: () => connection.close(),
      keepsPeer: false,
    });
  }

  /** The holder has no descriptor; a VM monitor will connect where it listens. */
  #listen(lease: BrokerLease, tenure: TenureWatch, listener: Fd): void {
    const { os, log, deadlines } = this.#context;
    const { id, uid, holder } = lease.terms;
    const post = new ListenPost({
      os,
      log,
      helpers: this.#helpers,
      listener,
      leaseId: id,
      uid,
      negotiateMs: deadlines.listenNegotiateMs,
      connectMs: holder === 'fd' ? deadlines.listenConnectMs : undefined,
      serve: (socket, { opened, ended }) =>
        this.#connect(lease, socket, { onOpened: opened, onEndOfFile: ended }),
      onConnected: (peer) => lease.publish({ type: 'connected', pid: peer.pid }),
      onEndOfFile: (farewell) => {
        this.#endOfFile(lease, tenure, farewell);
        lease.peerGone();
      },
      onAbandoned: () => lease.dispatch({ type: 'holderGone' }),
    });
    lease.attach(post);
  }

  #connect(lease: BrokerLease, socket: StreamSocket, events: EndpointEvents): VfioUserConnection {
    const { os, bug } = this.#context;
    return serveVfioUser(socket, new LeaseEndpoint(this.#context, lease, events), {
      clock: os.clock,
      screen: { helpers: this.#helpers, uid: lease.terms.uid },
      onBug: bug,
    });
  }

  #endOfFile(lease: BrokerLease, tenure: TenureWatch, farewell: boolean): void {
    if (farewell) lease.dispatch({ type: 'release' });
    else tenure.sign('endOfFile');
  }

  #close(lease: BrokerLease): void {
    this.#tenures.get(lease.terms.id)?.[Symbol.dispose]();
    this.#tenures.delete(lease.terms.id);
  }
}
