// A listening socket and its file. The file is removed with the socket, unless another took its
// place meanwhile.
import type { Clock } from '../base/clock.js';
import { errnoNumber } from '../base/errno.js';
import { Fd } from './fd.js';
import { checkResult } from './native-result.js';
import { pollEvents } from './native-sockets.js';
import { Readiness } from './readiness.js';
import * as socket from './socket-constants.js';
import type { FileIdentity, SocketFiles } from './socket-file.js';
import type { ListenerSocket, StreamSocket } from './socket-types.js';
import { OsStreamSocket, type StreamCalls } from './stream-socket.js';
import { unixAddress } from './unix-address.js';

/** Connections taken per turn of the event loop. */
const acceptsPerTurn = 16;
/** The kernel lowers it to net.core.somaxconn. */
const backlog = 4096;
/** Pause when descriptors or memory ran out: the waiting connection would spin the loop. */
const exhaustedPauseMs = 100;

const ECONNABORTED = errnoNumber('ECONNABORTED');

export class OsListenerSocket implements ListenerSocket {
  readonly path: string;
  readonly #calls: StreamCalls;
  readonly #clock: Clock;
  readonly #fd: Fd;
  readonly #files: SocketFiles;
  readonly #file: FileIdentity | undefined;
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
    this.path = path;
    this.#calls = calls;
    this.#clock = clock;
    this.#files = files;
    this.#onConnection = onConnection;
    const address = unixAddress(path);
    const type = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC;
    this.#fd = new Fd(calls, checkResult(calls.socket(socket.AF_UNIX, type), 'socket'));
    this.#readiness = new Readiness(calls, this.#fd.number, () => this.#accept());
    let bound = false;
    try {
      // The file is made with the socket's mode less the umask, so it is never more open than this.
      files.setSocketMode(this.#fd.number, mode);
      checkResult(calls.bind(this.#fd.number, address), 'bind', path);
      bound = true;
      this.#file = files.identity(path);
      files.setMode(path, mode);
      checkResult(calls.listen(this.#fd.number, backlog), 'listen', path);
      this.#readiness.want(pollEvents.readable);
    } catch (error) {
      if (bound) this[Symbol.dispose]();
      else this.#fd.close();
      throw error;
    }
  }

  #accept(): void {
    for (let turn = 0; turn < acceptsPerTurn && this.#fd.isOpen; turn++) {
      const flags = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC;
      const accepted = this.#calls.accept(this.#fd.number, flags);
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
    if (!this.#fd.isOpen) return;
    this.#pauseTimer?.[Symbol.dispose]();
    this.#readiness[Symbol.dispose]();
    this.#fd.close();
    const now = this.#files.identity(this.path);
    const file = this.#file;
    if (now && file && now.device === file.device && now.inode === file.inode) {
      this.#files.remove(this.path);
    }
  }
}
