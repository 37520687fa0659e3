// What a stream accepted and the kernel has not taken yet. Owns the descriptors in it.
import { limits } from '../base/limits.js';
import { closeAll, type Fd } from './fd.js';
import type { SocketCalls } from './native-sockets.js';
import { EAGAIN, EINTR, MSG_DONTWAIT, MSG_NOSIGNAL } from './socket-constants.js';

interface Piece {
  readonly bytes: Uint8Array;
  readonly fds: readonly Fd[];
}

function numbersOf(fds: readonly Fd[]): Int32Array | undefined {
  return fds.length === 0 ? undefined : Int32Array.from(fds, (fd) => fd.number);
}

/** One sendmsg. @returns Bytes taken, or a negative errno. */
function sendPiece(
  calls: SocketCalls,
  fd: number,
  bytes: Uint8Array,
  offset: number,
  fds: readonly Fd[],
): number {
  const numbers = numbersOf(fds);
  for (;;) {
    const sent = calls.sendMessage(fd, bytes, offset, numbers, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent !== -EINTR) return sent;
  }
}

export class SendQueue {
  readonly #calls: SocketCalls;
  #pieces: Piece[] = [];
  /** Bytes of the first piece that the kernel has. */
  #sentBytes = 0;
  #bytes = 0;
  #fdCount = 0;

  constructor(calls: SocketCalls) {
    this.#calls = calls;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#pieces.length === 0;
  }

  /**
   * Takes ownership of `fds`. Sends at once what the kernel takes, if nothing is queued before;
   * a copy of the rest is queued.
   *
   * @returns 0, a negative errno when the stream cannot send any more, or what is full.
   */
  send(fd: number, bytes: Uint8Array, fds: readonly Fd[]): number | 'bytes' | 'descriptors' {
    let sent = this.isEmpty ? sendPiece(this.#calls, fd, bytes, 0, fds) : -EAGAIN;
    let unsent = fds;
    if (sent > 0) {
      closeAll(fds);
      unsent = [];
    } else if (sent === -EAGAIN) {
      sent = 0;
    } else {
      closeAll(fds);
      return sent;
    }
    const restBytes = bytes.length - sent;
    if (restBytes === 0) return 0;
    const full = this.#full(restBytes, unsent.length);
    if (full !== undefined) {
      closeAll(unsent);
      return full;
    }
    this.#pieces.push({ bytes: bytes.slice(sent), fds: unsent });
    this.#bytes += restBytes;
    this.#fdCount += unsent.length;
    return 0;
  }

  /** Sends until the kernel takes no more. @returns 0, or a negative errno as `send` does. */
  flush(fd: number): number {
    for (;;) {
      const piece = this.#pieces[0];
      if (piece === undefined) return 0;
      const fds = this.#sentBytes === 0 ? piece.fds : [];
      const sent = sendPiece(this.#calls, fd, piece.bytes, this.#sentBytes, fds);
      if (sent === -EAGAIN) return 0;
      if (sent < 0) return sent;
      closeAll(fds);
      this.#fdCount -= fds.length;
      this.#bytes -= sent;
      this.#sentBytes += sent;
      if (this.#sentBytes < piece.bytes.length) continue;
      this.#pieces.shift();
      this.#sentBytes = 0;
    }
  }

  #full(bytes: number, fdCount: number): 'bytes' | 'descriptors' | undefined {
    if (this.#bytes + bytes > limits.sendQueueBytesMax) return 'bytes';
    if (this.#fdCount + fdCount > limits.sendQueueFdsMax) return 'descriptors';
    return undefined;
  }

  /** Forgets everything and closes its descriptors. */
  clear(): void {
    for (const piece of this.#pieces) closeAll(piece.fds);
    this.#pieces = [];
    this.#sentBytes = 0;
    this.#bytes = 0;
    this.#fdCount = 0;
  }
}
