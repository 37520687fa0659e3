// What a stream accepted and the kernel has not taken yet. Owns the descriptors in it.
import { limits } from '../base/limits.js';
import { closeAll, type Fd } from './fd.js';
import type { SocketCalls } from './native-sockets.js';
import { EAGAIN, EINTR, MSG_DONTWAIT, MSG_NOSIGNAL } from './socket-constants.js';

interface Piece {
  readonly bytes: Uint8Array;
  readonly fds: readonly Fd[];
}

/** What `send` and `gather` come to: 0, a negative errno of the stream, or what is full. */
export type SendResult = number | 'bytes' | 'descriptors';

/** Sends of at most so many bytes are worth copying together. */
export const gatherBytesMax = 8192;
const gatherBufferBytes = 65_536;
// Lent to a queue from the first gathered byte to the flush: seldom more than one at a time.
const spareBuffers: Uint8Array[] = [];
const noBytes = new Uint8Array(0);
const noFds: readonly Fd[] = [];

function numbersOf(fds: readonly Fd[]): Int32Array | undefined {
  if (fds.length === 0) return undefined;
  const numbers = new Int32Array(fds.length);
  for (let index = 0; index < fds.length; index++) numbers[index] = fds[index]!.number;
  return numbers;
}

/** One sendmsg. @returns Bytes taken, or a negative errno. */
function sendPiece(
  calls: SocketCalls,
  fd: number,
  bytes: Uint8Array,
  offset: number,
  fds: readonly Fd[],
  end = bytes.length,
): number {
  const numbers = numbersOf(fds);
  for (;;) {
    const sent = calls.sendMessage(fd, bytes, offset, numbers, MSG_DONTWAIT | MSG_NOSIGNAL, end);
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
  #gathered: Uint8Array = noBytes;
  #gatheredBytes = 0;

  constructor(calls: SocketCalls) {
    this.#calls = calls;
  }

  get bytes(): number {
    return this.#bytes + this.#gatheredBytes;
  }

  /** Whether nothing waits for the kernel; gathered bytes were not offered to it yet. */
  get isEmpty(): boolean {
    return this.#pieces.length === 0;
  }

  get hasGathered(): boolean {
    return this.#gatheredBytes > 0;
  }

  /**
   * Takes ownership of `fds`. Sends at once what the kernel takes, if nothing is queued before;
   * a copy of the rest is queued.
   */
  send(fd: number, bytes: Uint8Array, fds: readonly Fd[]): SendResult {
    const flushed = this.flushGathered(fd);
    if (flushed !== 0) {
      closeAll(fds);
      return flushed;
    }
    let sent = this.isEmpty ? sendPiece(this.#calls, fd, bytes, 0, fds) : -EAGAIN;
    let unsent = fds;
    if (sent > 0) {
      closeAll(fds);
      unsent = noFds;
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
    this.#push(bytes.slice(sent), unsent);
    return 0;
  }

  /** Copies at most `gatherBytesMax` bytes, to be sent with others by `flushGathered`. */
  gather(fd: number, bytes: Uint8Array): SendResult {
    if (this.#gatheredBytes + bytes.length > gatherBufferBytes) {
      const flushed = this.flushGathered(fd);
      if (flushed !== 0) return flushed;
    }
    const full = this.#full(this.#gatheredBytes + bytes.length, 0);
    if (full !== undefined) return full;
    if (this.#gatheredBytes === 0) {
      this.#gathered = spareBuffers.pop() ?? new Uint8Array(gatherBufferBytes);
    }
    this.#gathered.set(bytes, this.#gatheredBytes);
    this.#gatheredBytes += bytes.length;
    return 0;
  }

  /** Sends what was gathered, in one piece; what the kernel does not take is queued. */
  flushGathered(fd: number): number {
    const lengthBytes = this.#gatheredBytes;
    if (lengthBytes === 0) return 0;
    const bytes = this.#gathered;
    let sent = this.isEmpty ? sendPiece(this.#calls, fd, bytes, 0, noFds, lengthBytes) : -EAGAIN;
    this.#dropGathered();
    if (sent === -EAGAIN) sent = 0;
    if (sent < 0) return sent;
    if (sent < lengthBytes) this.#push(bytes.slice(sent, lengthBytes), noFds);
    return 0;
  }

  /** Sends until the kernel takes no more. @returns 0, or a negative errno as `send` does. */
  flush(fd: number): number {
    for (;;) {
      const piece = this.#pieces[0];
      if (piece === undefined) return 0;
      const fds = this.#sentBytes === 0 ? piece.fds : noFds;
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

  /** Forgets everything and closes its descriptors. */
  clear(): void {
    for (const piece of this.#pieces) closeAll(piece.fds);
    this.#pieces = [];
    this.#sentBytes = 0;
    this.#bytes = 0;
    this.#fdCount = 0;
    if (this.#gatheredBytes > 0) this.#dropGathered();
  }

  #push(bytes: Uint8Array, fds: readonly Fd[]): void {
    this.#pieces.push({ bytes, fds });
    this.#bytes += bytes.length;
    this.#fdCount += fds.length;
  }

  #full(bytes: number, fdCount: number): 'bytes' | 'descriptors' | undefined {
    if (this.#bytes + bytes > limits.sendQueueBytesMax) return 'bytes';
    if (this.#fdCount + fdCount > limits.sendQueueFdsMax) return 'descriptors';
    return undefined;
  }

  #dropGathered(): void {
    spareBuffers.push(this.#gathered);
    this.#gathered = noBytes;
    this.#gatheredBytes = 0;
  }
}
