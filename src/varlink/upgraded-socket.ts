// A connection that has left Varlink for another protocol: bytes that came too early for it are
// delivered first, then those of the socket. Descriptors never come too early: they stay in the
// socket, or end the connection.
import { assert } from '../base/errors.js';
import { closeAll, type Fd } from '../os/fd.js';
import type {
  PeerCredentials,
  StreamHandler,
  StreamOptions,
  StreamSocket,
} from '../os/socket-types.js';

export class UpgradedSocket implements StreamSocket {
  readonly #socket: StreamSocket;
  readonly #fdsMax: number;
  #early: Uint8Array;
  #handler: StreamHandler | undefined;
  #isPaused = false;
  #isDelivering = false;
  /** The socket was over before anybody had started on it. */
  #ended: { readonly error: Error | undefined } | undefined;

  /**
   * Takes ownership of the socket, which must deliver to this from now on.
   *
   * @param fdsMax - What the socket was started with.
   */
  constructor(socket: StreamSocket, fdsMax: number, early: Uint8Array) {
    this.#socket = socket;
    this.#fdsMax = fdsMax;
    this.#early = early;
    socket.pause();
  }

  get fd(): Fd {
    return this.#socket.fd;
  }

  get isOpen(): boolean {
    return this.#socket.isOpen;
  }

  get queuedBytes(): number {
    return this.#socket.queuedBytes;
  }

  start(handler: StreamHandler, options: StreamOptions): void {
    assert(this.#handler === undefined, 'a stream is started once');
    assert(options.fdsMax <= this.#fdsMax, `${options.fdsMax} descriptors after an upgrade`);
    this.#handler = handler;
    // In a later turn, as bytes of a socket come.
    setImmediate(() => this.#deliver());
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#handler !== undefined) this.#deliver();
  }

  send(bytes: Uint8Array, fds?: readonly Fd[]): void {
    this.#socket.send(bytes, fds);
  }

  flush(): void {
    this.#socket.flush();
  }

  end(deadlineMs?: number): void {
    this.#early = this.#early.subarray(this.#early.length);
    this.#socket.end(deadlineMs);
  }

  credentials(): PeerCredentials {
    return this.#socket.credentials();
  }

  peerPidfd(): Fd {
    return this.#socket.peerPidfd();
  }

  [Symbol.dispose](): void {
    this.#early = this.#early.subarray(this.#early.length);
    this.#ended = undefined;
    this.#socket[Symbol.dispose]();
  }

  // What the socket delivers.

  wantBytes(): number {
    return this.#handler?.wantBytes() ?? 1;
  }

  data(bytes: Uint8Array, fds: Fd[], refusedCount: number): void {
    if (this.#handler !== undefined) this.#handler.data(bytes, fds, refusedCount);
    else closeAll(fds);
  }

  finished(error: Error | undefined): void {
    this.#ended = { error };
    if (this.#handler !== undefined) this.#deliver();
  }

  /** Early bytes, in the pieces that are asked for; then the socket goes on, or its end is told. */
  #deliver(): void {
    const handler = this.#handler;
    if (this.#isDelivering || handler === undefined) return;
    this.#isDelivering = true;
    try {
      while (this.#early.length > 0 && !this.#isPaused) {
        const count = Math.min(this.#early.length, handler.wantBytes());
        const piece = this.#early.slice(0, count);
        this.#early = this.#early.subarray(count);
        handler.data(piece, [], 0);
      }
    } finally {
      this.#isDelivering = false;
    }
    if (this.#isPaused) return;
    const ended = this.#ended;
    this.#ended = undefined;
    if (ended !== undefined) handler.end(ended.error);
    else if (this.isOpen) this.#socket.resume();
  }
}
