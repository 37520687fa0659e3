// Waits on a client's listening socket for the VM monitor that is to use a lease, and keeps its
// connection. One peer at a time; the first that negotiates has the lease, and nobody is taken
// after it. A connection to a socket of the client's making proves nothing but its user.
import { errnoOf } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { Fd } from '../os/fd.js';
import type { HelperPool } from '../os/helper-types.js';
import type { Os } from '../os/os-types.js';
import type { PeerCredentials, StreamSocket } from '../os/socket-types.js';
import { connectDenial } from '../policy/decide.js';
import type { VfioUserConnection } from '../vfio-user/server.js';
import type { LeaseConnection } from './lease.js';

/** Long enough for a connection that is there; whoever took it away meanwhile gains no more. */
const acceptMs = 1000;
/**
 * Pause before the next peer, so that none can spin the broker; doubled each time that nobody was
 * there after all, as on a socket that its client shut down.
 */
const retryPauseMs = 50;
const retryPauseMsMax = 3200;

/** What the endpoint of one connection tells. */
export interface PeerEvents {
  /** The peer negotiated. */
  opened(): void;
  /** The connection is over. @see EndpointEvents */
  ended(farewell: boolean): void;
}

export interface ListenPostParts {
  readonly os: Os;
  readonly helpers: HelperPool;
  readonly log: Logger;
  /** A listening socket, checked to be one. Owned. */
  readonly listener: Fd;
  readonly leaseId: string;
  /** The user of the lease. */
  readonly uid: number;
  /** How long a peer may take to negotiate. */
  readonly negotiateMs: number;
  /** How long a peer may take to come; undefined: its acquirer waits with it. */
  readonly connectMs: number | undefined;
  serve(socket: StreamSocket, events: PeerEvents): VfioUserConnection;
  /** The lease has its one connection. */
  onConnected(peer: PeerCredentials): void;
  /** That connection is over. */
  onEndOfFile(farewell: boolean): void;
  /** Nobody came in time. */
  onAbandoned(): void;
}

export class ListenPost implements LeaseConnection {
  readonly #parts: ListenPostParts;
  #state: 'waiting' | 'taken' | 'over' = 'waiting';
  /** A peer negotiated; stays so. */
  #isTaken = false;
  #connection: VfioUserConnection | undefined;
  #watch: Disposable | undefined;
  /** Retry of accept, or deadline of the negotiation. */
  #timer: Disposable | undefined;
  #connectTimer: Disposable | undefined;
  /** Times in a row that there was nothing to accept. */
  #failedCount = 0;

  /** Takes ownership of the listener, also when this throws. @throws OsError */
  constructor(parts: ListenPostParts) {
    this.#parts = parts;
    const { connectMs, os } = parts;
    try {
      this.#wait();
      if (connectMs !== undefined) {
        this.#connectTimer = os.clock.after(connectMs, () => this.#abandon());
      }
    } catch (error) {
      this.#stopListening();
      throw error;
    }
  }

  get keepsPeer(): boolean {
    return this.#state === 'taken' && this.#connection?.isOpen === true;
  }

  fence(): void {
    if (this.#state === 'taken') this.#connection?.fence('ENODEV');
    else this.close();
  }

  close(): void {
    this.#state = 'over';
    this.#stopListening();
    this.#connection?.close();
  }

  #wait(): void {
    const { os, listener } = this.#parts;
    this.#watch = os.sockets.onConnectable(listener, () => {
      this.#stopWaiting();
      this.#accept().catch((error: unknown) => this.#acceptFailed(error));
    });
  }

  /** Waits again after a moment. */
  #waitLater(): void {
    if (this.#state !== 'waiting') return;
    const { clock } = this.#parts.os;
    this.#timer?.[Symbol.dispose]();
    const pauseMs = Math.min(retryPauseMs * 2 ** this.#failedCount, retryPauseMsMax);
    this.#timer = clock.after(pauseMs, () => {
      try {
        this.#wait();
      } catch (error) {
        // For want of descriptors or memory: later there may be some.
        if (errnoOf(error) === undefined) throw error;
        this.#failedCount += 1;
        this.#waitLater();
      }
    });
  }

  /** In a helper process: the client may take the connection itself, and whoever waits is stuck. */
  async #accept(): Promise<void> {
    const { helpers, listener, uid } = this.#parts;
    const socket = await helpers.accept(listener, { uid, deadlineMs: acceptMs });
    this.#failedCount = 0;
    if (this.#state === 'waiting') this.#admit(socket);
    else socket[Symbol.dispose]();
  }

  #acceptFailed(error: unknown): void {
    if (errnoOf(error) === undefined) throw error;
    if (this.#state !== 'waiting') return;
    const { log, leaseId } = this.#parts;
    log.info('no connection could be taken', { lease: leaseId, error: String(error) });
    this.#failedCount += 1;
    this.#waitLater();
  }

  #admit(socket: StreamSocket): void {
    const { log, leaseId, uid, os, serve } = this.#parts;
    let peer: PeerCredentials;
    try {
      peer = socket.credentials();
    } catch (error) {
      socket[Symbol.dispose]();
      throw error;
    }
    const denial = connectDenial(peer.uid, uid);
    if (denial !== undefined) {
      log.warn('a peer of a lease was refused', { lease: leaseId, ...peer, why: denial.detail });
      socket[Symbol.dispose]();
      this.#waitLater();
      return;
    }
    this.#connection = serve(socket, {
      opened: () => this.#opened(peer),
      ended: (farewell) => this.#ended(farewell),
    });
    const { clock } = os;
    this.#timer = clock.after(this.#parts.negotiateMs, () => this.#connection?.close());
  }

  #opened(peer: PeerCredentials): void {
    if (this.#state !== 'waiting') return;
    this.#state = 'taken';
    this.#isTaken = true;
    // From here on a connection is refused by the kernel, at once.
    this.#stopListening();
    this.#parts.onConnected(peer);
  }

  #ended(farewell: boolean): void {
    this.#timer?.[Symbol.dispose]();
    if (this.#isTaken) this.#parts.onEndOfFile(farewell);
    else this.#waitLater();
  }

  #abandon(): void {
    if (this.#state !== 'waiting') return;
    this.close();
    this.#parts.onAbandoned();
  }

  #stopWaiting(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }

  #stopListening(): void {
    this.#stopWaiting();
    this.#timer?.[Symbol.dispose]();
    this.#connectTimer?.[Symbol.dispose]();
    this.#parts.listener.close();
  }
}
