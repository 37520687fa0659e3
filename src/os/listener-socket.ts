// A listening socket whose connections are taken here, on the event loop.
import type { Clock } from '../base/clock.js';
import { errnoNumber } from '../base/errno.js';
import { OsBoundSocket } from './bound-socket.js';
import { Fd } from './fd.js';
import { pollEvents } from './native-sockets.js';
import { Readiness } from './readiness.js';
import * as socket from './socket-constants.js';
import type { SocketFiles } from './socket-file.js';
import type { ListenerSocket, StreamSocket } from './socket-types.js';
import { OsStreamSocket, type StreamCalls } from './stream-socket.js';

/** Connections taken per turn of the event loop. */
const acceptsPerTurn = 16;
/** The kernel lowers it to net.core.somaxconn. */
const backlog = 4096;
/** Pause when descriptors or memory ran out: the waiting connection would spin the loop. */
const exhaustedPauseMs = 100;

const ECONNABORTED = errnoNumber('ECONNABORTED');

export class OsListenerSocket implements ListenerSocket {
  readonly #calls: StreamCalls;
  readonly #clock: Clock;
  readonly #bound: OsBoundSocket;
  readonly #readiness: Readiness;
  readonly #onConnection: (connection: StreamSocket) => void;
  #pauseTimer: Disposable | undefined;

  /** @throws OsError of socket, bind, chmod, listen; LessorError `INVALID_ARGUMENT` on the path. */
  constructor(
    calls: StreamCalls,
    clock: Clock,
    files: SocketFiles,
    path: string,
    mode: number,
    onConnection: (connection: StreamSocket) => void,
  ) {
    this.#calls = calls;
    this.#clock = clock;
    this.#onConnection = onConnection;
    this.#bound = new OsBoundSocket(calls, files, path, mode, backlog);
    this.#readiness = new Readiness(calls, this.#bound.fd.number, () => this.#accept());
    try {
      this.#readiness.want(pollEvents.readable);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  get path(): string {
    return this.#bound.path;
  }

  #accept(): void {
    for (let turn = 0; turn < acceptsPerTurn && this.#bound.fd.isOpen; turn++) {
      const flags = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC;
      const accepted = this.#calls.accept(this.#bound.fd.number, flags);
      if (accepted >= 0) {
        const fd = new Fd(this.#calls, accepted);
        this.#onConnection(new OsStreamSocket(this.#calls, this.#clock, fd));
      } else if (accepted === -socket.EAGAIN) {
        return;
      } else if (accepted !== -socket.EINTR && accepted !== -ECONNABORTED) {
        this.#pause();
        return;
      }
    }
  }

  #pause(): void {
    this.#readiness.want(0);
    this.#pauseTimer = this.#clock.after(exhaustedPauseMs, () => {
      this.#readiness.want(pollEvents.readable);
    });
  }

  [Symbol.dispose](): void {
    this.#pauseTimer?.[Symbol.dispose]();
    this.#readiness[Symbol.dispose]();
    this.#bound[Symbol.dispose]();
  }
}
