// Stream sockets of the operating system.
import type { Clock } from '../base/clock.js';
import { Fd } from './fd.js';
import { OsListenerSocket } from './listener-socket.js';
import { checkResult } from './native-result.js';
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from './socket-constants.js';
import { machineSocketFiles, type SocketFiles } from './socket-file.js';
import type { ListenerSocket, SocketOs, StreamSocket } from './socket-types.js';
import { OsStreamSocket, type StreamCalls } from './stream-socket.js';
import { unixAddress } from './unix-address.js';

const streamType = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

export class OsSockets implements SocketOs {
  readonly #calls: StreamCalls;
  readonly #clock: Clock;
  readonly #files: SocketFiles;

  constructor(calls: StreamCalls, clock: Clock, files: SocketFiles = machineSocketFiles) {
    this.#calls = calls;
    this.#clock = clock;
    this.#files = files;
  }

  pair(): [Fd, Fd] {
    const out = new Int32Array(2);
    checkResult(this.#calls.socketPair(AF_UNIX, streamType, out), 'socketpair');
    return [new Fd(this.#calls, out[0] ?? -1), new Fd(this.#calls, out[1] ?? -1)];
  }

  stream(fd: Fd): StreamSocket {
    return new OsStreamSocket(this.#calls, this.#clock, fd);
  }

  listen(
    path: string,
    mode: number,
    onConnection: (connection: StreamSocket) => void,
  ): ListenerSocket {
    return new OsListenerSocket(this.#calls, this.#clock, this.#files, path, mode, onConnection);
  }

  /** Never waits: `EAGAIN` when the listener's queue is full. */
  connect(path: string): StreamSocket {
    const address = unixAddress(path);
    const fd = new Fd(this.#calls, checkResult(this.#calls.socket(AF_UNIX, streamType), 'socket'));
    try {
      checkResult(this.#calls.connect(fd.number, address), 'connect', path);
    } catch (error) {
      fd.close();
      throw error;
    }
    return this.stream(fd);
  }
}
