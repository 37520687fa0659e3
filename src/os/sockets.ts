// Stream sockets of the operating system.
import type { Clock } from '../base/clock.js';
import { OsBoundSocket } from './bound-socket.js';
import { Fd } from './fd.js';
import { OsListenerSocket } from './listener-socket.js';
import { checkResult } from './native-result.js';
import { pollEvents } from './native-sockets.js';
import { Readiness } from './readiness.js';
import {
  AF_UNIX,
  SO_ACCEPTCONN,
  SO_DOMAIN,
  SO_TYPE,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from './socket-constants.js';
import { machineSocketFiles, type SocketFiles } from './socket-file.js';
import type { BoundSocket, ListenerSocket, SocketOs, StreamSocket } from './socket-types.js';
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

  bind(path: string, mode: number, backlog: number): BoundSocket {
    return new OsBoundSocket(this.#calls, this.#files, path, mode, backlog);
  }

  isListening(fd: Fd): boolean {
    return (
      this.#integerOption(fd, SO_DOMAIN) === AF_UNIX &&
      this.#integerOption(fd, SO_TYPE) === SOCK_STREAM &&
      this.#integerOption(fd, SO_ACCEPTCONN) === 1
    );
  }

  onConnectable(fd: Fd, listener: () => void): Disposable {
    const readiness = new Readiness(this.#calls, fd.number, listener);
    readiness.want(pollEvents.readable);
    return readiness;
  }

  /** Undefined for what is no socket. */
  #integerOption(fd: Fd, name: number): number | undefined {
    const value = new Int32Array(1);
    const bytes = new Uint8Array(value.buffer);
    const result = this.#calls.getSocketOption(fd.number, SOL_SOCKET, name, bytes);
    return result < 0 ? undefined : value[0];
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
