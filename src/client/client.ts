// A client of a broker: asks for leases, lists them, watches events.
import { assert, LessorError } from '../base/errors.js';
import type { Fd } from '../os/fd.js';
import type { Os } from '../os/os-types.js';
import type { StreamSocket } from '../os/socket-types.js';
import { VarlinkClient } from '../varlink/client.js';
import type {
  AcquireParameters,
  AcquireReply,
  EventRecord,
  InfoReply,
  LeaseRecord,
} from '../varlink/interface.js';
import type { MoreReplies } from '../varlink/reply-queue.js';
import { execWithLease } from './handover.js';
import type { Lease } from './lease.js';
import { LeaseEvents } from './lease-events.js';
import { bindListener, ListeningLease, type ListenPlace } from './listening-lease.js';
import { openLease } from './open-lease.js';

const service = 'io.lessor.Control';
const answerMs = 10_000;

export interface AcquireRequest extends Omit<AcquireParameters, 'listen'> {
  /** False: the caller calls `lease.enable()` itself, after mapping memory. Default true. */
  readonly enable?: boolean;
  /**
   * The control connection itself becomes the lease: one descriptor in all, and no word of the
   * broker's but the end of it. Default false.
   */
  readonly upgrade?: boolean;
}

/** A lease for a VM monitor, which connects to a socket that this process makes. */
export interface ListenRequest extends Omit<AcquireRequest, 'enable' | 'holder' | 'upgrade'> {
  readonly listen: ListenPlace;
}

/** A lease that was not touched, to be given to another program. Descriptors are owned. */
export interface Handover {
  readonly record: LeaseRecord;
  readonly lease: Fd;
  /** The control connection, which ends the lease when it closes; absent for `holder: 'fd'`. */
  readonly control: Fd | undefined;
}

export interface Monitor {
  /** Resolves when the broker or `close` ended it. */
  readonly done: Promise<void>;
  close(): void;
}

interface RawLease {
  readonly record: LeaseRecord;
  readonly fd: Fd | undefined;
  readonly socket: StreamSocket;
  readonly connection: VarlinkClient;
  readonly replies: MoreReplies<AcquireReply> | undefined;
}

export class Client implements Disposable {
  readonly socketPath: string;
  readonly #os: Os;
  #shared: VarlinkClient | undefined;

  constructor(os: Os, socketPath: string) {
    this.#os = os;
    this.socketPath = socketPath;
    // A wrong path is told at once, not at the first call.
    this.#shared = this.#connect().connection;
  }

  async info(): Promise<InfoReply> {
    return this.#call<InfoReply>('GetInfo', {});
  }

  async leases(): Promise<readonly LeaseRecord[]> {
    return (await this.#call<{ leases: LeaseRecord[] }>('List', {})).leases;
  }

  /**
   * Takes a lease for a VM monitor: this process binds `listen.path`, the broker takes from it the
   * one connection that is the lease, and this process holds the lease meanwhile. The function's
   * isolation must be `pasid`, or the request `exclusive`; `memoryBytes` is how much memory the
   * guest has.
   *
   * @throws LessorError `INVALID_ARGUMENT` when the path is taken, and as for other leases.
   */
  async acquire(request: ListenRequest): Promise<ListeningLease>;
  /**
   * Takes a lease: windows mapped, interrupts ready, device enabled.
   *
   * @throws LessorError `NO_FREE_SLICE`, `DENIED`, `UNKNOWN_KIND`, `ISOLATION_UNAVAILABLE`, ...
   */
  async acquire(request: AcquireRequest): Promise<Lease>;
  async acquire(request: AcquireRequest | ListenRequest): Promise<Lease | ListeningLease> {
    if ('listen' in request) return this.#acquireListening(request);
    const { enable = true } = request;
    if (request.upgrade) return this.#acquireUpgraded(request, enable);
    const raw = withFd(await this.#acquire(request));
    const events =
      raw.replies === undefined ? undefined : new LeaseEvents(raw.connection, raw.replies);
    if (events === undefined) raw.connection[Symbol.dispose]();
    return openLease(this.#os, raw.record, raw.fd, events, enable);
  }

  /** Takes a lease for another program; no byte is sent on it. */
  async acquireForHandover(request: AcquireRequest): Promise<Handover> {
    const raw = withFd(await this.#acquire(request));
    if (raw.replies === undefined) {
      raw.connection[Symbol.dispose]();
      return { record: raw.record, lease: raw.fd, control: undefined };
    }
    // What the broker says from here on belongs to the other program.
    raw.socket.pause();
    return { record: raw.record, lease: raw.fd, control: raw.socket.fd.duplicate() };
  }

  /** Turns this process into a program that holds the lease. Returns only by throwing OsError. */
  exec(handover: Handover, path: string, argv: readonly string[]): never {
    return execWithLease(this.#os, handover, path, argv);
  }

  /** Prolongs a lease of this process, from now. @returns Its new end in wall milliseconds. */
  async renew(id: string, ttlMs: number): Promise<number> {
    return (await this.#call<{ expiresMs: number }>('Renew', { id, ttlMs })).expiresMs;
  }

  /** Ends a lease of this process, or as root any. Resolves when it was reclaimed. */
  async release(id: string): Promise<void> {
    await this.#call('Release', { id });
  }

  /** Calls back for every event from now on. */
  monitor(listener: (event: EventRecord) => void): Monitor {
    const { connection } = this.#connect();
    const replies = connection.callMore<{ event: EventRecord }>(`${service}.Monitor`, {});
    let closing = false;
    const pump = async (): Promise<void> => {
      try {
        for await (const { parameters } of replies) listener(parameters.event);
      } catch (error) {
        if (!closing) throw error;
      }
    };
    return {
      done: pump(),
      close: () => {
        closing = true;
        connection[Symbol.dispose]();
      },
    };
  }

  close(): void {
    this.#shared?.[Symbol.dispose]();
    this.#shared = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #connect(): { connection: VarlinkClient; socket: StreamSocket } {
    const socket = connectTo(this.#os, this.socketPath);
    return { connection: new VarlinkClient(socket, this.#os.clock), socket };
  }

  async #call<T>(method: string, parameters: object): Promise<T> {
    if (this.#shared === undefined || this.#shared.closed.aborted) {
      this.#shared = this.#connect().connection;
    }
    const reply = await this.#shared.call<T>(`${service}.${method}`, parameters, {
      deadlineMs: answerMs,
    });
    return reply.parameters;
  }

  async #acquireUpgraded(request: AcquireRequest, enable: boolean): Promise<Lease> {
    const { enable: _, upgrade: __, ...parameters } = request;
    const { connection } = this.#connect();
    try {
      const deadlineMs = answerMs + (request.waitMs ?? 0);
      const method = `${service}.Acquire`;
      const reply = await connection.upgrade<AcquireReply>(method, parameters, { deadlineMs });
      const { lease: record } = reply.parameters;
      if (record !== undefined) {
        return await openLease(this.#os, record, reply.socket, undefined, enable);
      }
      reply.socket[Symbol.dispose]();
      throw new LessorError('FRAME_MALFORMED', 'the broker answered without a lease');
    } catch (error) {
      if (!connection.closed.aborted) connection[Symbol.dispose]();
      throw error;
    }
  }

  async #acquireListening({ listen, ...request }: ListenRequest): Promise<ListeningLease> {
    const socket = bindListener(this.#os, listen);
    try {
      const raw = await this.#acquire(request, socket.fd);
      // From here on the broker alone listens: when it has a peer, nobody else gets a connection.
      socket.fd.close();
      const { record, connection, replies } = raw;
      raw.fd?.close();
      assert(replies !== undefined, 'the acquirer of a listening lease holds it');
      const events = new LeaseEvents(connection, replies);
      return new ListeningLease({
        record,
        socket,
        events,
        release: () => this.#releaseAlone(record.id),
      });
    } catch (error) {
      socket[Symbol.dispose]();
      throw error;
    }
  }

  /** By a connection of its own: this client may have been closed since. */
  async #releaseAlone(id: string): Promise<void> {
    using connection = this.#connect().connection;
    await connection.call(`${service}.Release`, { id }, { deadlineMs: answerMs });
  }

  async #acquire(request: AcquireRequest, listener?: Fd): Promise<RawLease> {
    const { enable: _, upgrade: __, ...parameters } = request;
    const { connection, socket } = this.#connect();
    const options = {
      deadlineMs: answerMs + (request.waitMs ?? 0),
      ...(listener === undefined ? {} : { fds: [listener.duplicate()] }),
    };
    const asked = listener === undefined ? parameters : { ...parameters, listen: 0 };
    const method = `${service}.Acquire`;
    try {
      const replies =
        request.holder === 'fd'
          ? undefined
          : connection.callMore<AcquireReply>(method, asked, options);
      const reply =
        replies === undefined
          ? await connection.call<AcquireReply>(method, asked, options)
          : await replies.next();
      const { lease: record, fd: index } = reply?.parameters ?? {};
      if (record === undefined) {
        throw new LessorError('FRAME_MALFORMED', 'the broker answered without a lease');
      }
      const fd = index === undefined ? undefined : reply?.fds[index];
      return { record, fd, socket, connection, replies };
    } catch (error) {
      connection[Symbol.dispose]();
      throw error;
    }
  }
}

function withFd(raw: RawLease): RawLease & { readonly fd: Fd } {
  const { fd } = raw;
  if (fd !== undefined) return { ...raw, fd };
  raw.connection[Symbol.dispose]();
  throw new LessorError('FRAME_MALFORMED', 'the broker granted a lease without a descriptor');
}

/** @throws LessorError `BROKER_NOT_FOUND` with the path, OsError otherwise. */
export function connectTo(os: Os, path: string): StreamSocket {
  try {
    return os.sockets.connect(path);
  } catch (error) {
    const { errno } = error as { errno?: string };
    if (errno === 'ENOENT' || errno === 'ECONNREFUSED') {
      throw new LessorError('BROKER_NOT_FOUND', `no broker answers on ${path}`, { cause: error });
    }
    if (errno === 'EACCES') {
      throw new LessorError('DENIED', `${path} may not be opened`, { cause: error });
    }
    throw error;
  }
}
