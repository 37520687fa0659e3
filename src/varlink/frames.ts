// Messages on a stream: JSON ended by a NUL byte, with the descriptors that came along.
//
// Descriptors travel with the first byte of their message, and a message that carries some is sent
// by a sendmsg of its own. The kernel may return earlier bytes together with it, but nothing behind
// it: descriptors of one read belong to the last message that begins in what was read.
import { ProtocolError } from '../base/errors.js';
import { closeAll, type Fd } from '../os/fd.js';

export interface Frame {
  /** Without the terminator. */
  readonly text: string;
  readonly fds: Fd[];
  /** Descriptors that came and were closed unseen, because of their type. */
  readonly refusedCount: number;
}

interface Passenger {
  /** Offset in the stream of the first byte of the message they belong to. */
  readonly start: number;
  readonly fds: Fd[];
  readonly refusedCount: number;
}

export interface FrameLimits {
  readonly messageBytesMax: number;
  readonly fdsMax: number;
}

const noBytes = new Uint8Array(0);
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Cuts a stream into messages. Owns every descriptor it was given and has not handed out. */
export class FrameReader implements Disposable {
  readonly #limits: FrameLimits;
  /** Bytes of the message that is not complete yet. */
  #parts: Uint8Array[] = [];
  #partsBytes = 0;
  /** Offset in the stream of the first byte in `#parts`, or of the next one to come. */
  #start = 0;
  #passengers: Passenger[] = [];
  #holds = false;
  #disposed = false;

  constructor(frameLimits: FrameLimits) {
    this.#limits = frameLimits;
  }

  /** True in the middle of a message. */
  get isPartial(): boolean {
    return this.#partsBytes > 0;
  }

  /** Descriptors came that belong to no message yet. */
  get hasPassengers(): boolean {
    return this.#passengers.length > 0;
  }

  /** Inside of `receive`: what follows this message is another protocol's, and is given back. */
  hold(): void {
    this.#holds = true;
  }

  /**
   * Takes what one read returned, and hands out the messages it completes, which belong to the
   * receiver. Stop feeding after an error, and dispose. Disposing inside of `receive` hands out
   * no more.
   *
   * @returns What `hold` left.
   * @throws ProtocolError
   */
  feed(
    bytes: Uint8Array,
    fds: Fd[],
    refusedCount: number,
    receive: (frame: Frame) => void,
  ): Uint8Array {
    if (fds.length > 0 || refusedCount > 0) this.#board(bytes, fds, refusedCount);
    let from = 0;
    while (from < bytes.length) {
      const end = bytes.indexOf(0, from);
      const part = bytes.subarray(from, end < 0 ? bytes.length : end);
      const messageBytes = this.#partsBytes + part.length + 1;
      if (messageBytes > this.#limits.messageBytesMax) {
        throw new ProtocolError('message', this.#limits.messageBytesMax, 'too large', {
          errno: 'EMSGSIZE',
        });
      }
      if (part.length > 0) this.#parts.push(part);
      this.#partsBytes += part.length;
      if (end < 0) return noBytes;
      receive(this.#complete());
      if (this.#disposed) return noBytes;
      from = end + 1;
      if (this.#holds) {
        this.#holds = false;
        return bytes.subarray(from);
      }
    }
    return noBytes;
  }

  [Symbol.dispose](): void {
    for (const { fds } of this.#passengers) closeAll(fds);
    this.#passengers = [];
    this.#parts = [];
    this.#disposed = true;
  }

  /** Notes to which message the descriptors of a read belong; `#start` is still before it. */
  #board(bytes: Uint8Array, fds: Fd[], refusedCount: number): void {
    const readAt = this.#start + this.#partsBytes;
    // The last byte of a read cannot end the message before the one that is meant.
    const lastEnd = bytes.length < 2 ? -1 : bytes.lastIndexOf(0, bytes.length - 2);
    const start = lastEnd >= 0 ? readAt + lastEnd + 1 : this.#start;
    this.#passengers.push({ start, fds, refusedCount });
    if (start < readAt) {
      throw new ProtocolError('fds', 0, 'descriptors in the middle of a message', {
        errno: 'EPROTO',
      });
    }
    if (fds.length + refusedCount > this.#limits.fdsMax) {
      throw new ProtocolError('fds', 0, `more than ${this.#limits.fdsMax} descriptors`, {
        errno: 'EPROTO',
      });
    }
  }

  #complete(): Frame {
    const bytes = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
    const text = decodeText(bytes);
    const start = this.#start;
    this.#start += this.#partsBytes + 1;
    this.#parts = [];
    this.#partsBytes = 0;
    if (this.#passengers[0]?.start !== start) return { text, fds: [], refusedCount: 0 };
    const { fds, refusedCount } = this.#passengers.shift()!;
    return { text, fds, refusedCount };
  }
}

function decodeText(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw new ProtocolError('message', 0, 'not UTF-8', { cause });
  }
}

/** The bytes of a message. `undefined` members are left out. */
export function encodeFrame(message: object): Uint8Array {
  return Buffer.from(`${JSON.stringify(message)}\0`, 'utf8');
}
