// A lease that a VM monitor uses: this process asked for it, keeps it, and touches nothing of it.
import { EventEmitter } from 'node:events';
import { LessorError } from '../base/errors.js';
import type { Os } from '../os/os-types.js';
import { claimSocketPath } from '../os/socket-claim.js';
import type { BoundSocket } from '../os/socket-types.js';
import type { FaultRecord, LeaseRecord } from '../varlink/interface.js';
import type { LeaseEnd } from './lease.js';
import type { LeaseEvents } from './lease-events.js';

/** Connections that may wait: one is taken, and some that only look whether anybody listens. */
const backlog = 8;
const modeDefault = 0o600;

/** Where a VM monitor will find the lease. */
export interface ListenPlace {
  /** Of the socket to be made; its folder must exist. A socket nobody listens on is replaced. */
  readonly path: string;
  /** Of the socket file, default 0o600. The broker takes root and the acquirer's user alone. */
  readonly mode?: number;
}

export interface ListeningLeaseEventMap {
  /** A VM monitor has the lease; the socket takes no other. */
  connected: [{ readonly pid: number }];
  /** The monitor was refused something, and was told no more than an errno. */
  refused: [{ readonly reason: string }];
  revoking: [{ readonly reason: string; readonly graceMs: number }];
  fault: [FaultRecord];
  ended: [LeaseEnd];
}

/**
 * Binds the socket of a listening lease.
 *
 * @throws LessorError `INVALID_ARGUMENT` when the path is that of no free socket;
 *   OsError of bind.
 */
export function bindListener(os: Os, { path, mode = modeDefault }: ListenPlace): BoundSocket {
  if (claimSocketPath(os.sockets, path)) return os.sockets.bind(path, mode, backlog);
  throw new LessorError('INVALID_ARGUMENT', `somebody listens on ${path}`, {
    hint: 'choose another path',
  });
}

export interface ListeningLeaseParts {
  readonly record: LeaseRecord;
  /** Its file is removed when the lease has ended; its descriptor went to the broker. */
  readonly socket: BoundSocket;
  readonly events: LeaseEvents;
  release(): Promise<void>;
}

export class ListeningLease
  extends EventEmitter<ListeningLeaseEventMap>
  implements AsyncDisposable
{
  /** As granted. */
  readonly record: LeaseRecord;
  /**
   * Resolves when the lease has ended: `released` when this process or the VM monitor was done
   * with it. Never rejects.
   */
  readonly ended: Promise<LeaseEnd>;
  readonly #parts: ListeningLeaseParts;
  #resolveEnded: (end: LeaseEnd) => void = () => {};
  #isOver = false;
  #isConnected = false;
  #releasing = false;

  constructor(parts: ListeningLeaseParts) {
    super();
    this.#parts = parts;
    this.record = parts.record;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    parts.events.start({
      connected: (pid) => {
        this.#isConnected = true;
        this.emit('connected', { pid });
      },
      refused: (reason) => this.emit('refused', { reason }),
      revoking: (reason, graceMs) => this.emit('revoking', { reason, graceMs }),
      fault: (fault) => this.emit('fault', fault),
      ended: (reason) => this.#finish(reason),
    });
  }

  /** Path of the socket that the VM monitor connects to. */
  get path(): string {
    return this.#parts.socket.path;
  }

  /** A VM monitor has, or had, the lease. */
  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** Takes the lease from whoever uses it; resolves when the broker has it back. Idempotent. */
  async close(): Promise<void> {
    if (!this.#releasing && !this.#isOver) {
      this.#releasing = true;
      // Should this fail, the end of the control connection says the same.
      await this.#parts.release().catch(() => this.#parts.events.close());
    }
    await this.ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #finish(reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#parts.socket[Symbol.dispose]();
    this.#parts.events.close();
    const isMonitorGone = this.#isConnected && reason === 'holder died';
    const end: LeaseEnd = {
      reason: isMonitorGone ? 'the VM monitor closed its connection' : reason,
      released: this.#releasing || isMonitorGone || reason === 'released',
    };
    this.emit('ended', end);
    this.#resolveEnded(end);
  }
}
