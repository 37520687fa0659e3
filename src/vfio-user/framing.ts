// Splits a stream into vfio-user messages. Where descriptors may come the header is read alone,
// then the payload, so that they belong to the message whose header they came with; bytes known to
// carry none are taken as they come. Judges what ends a connection in either direction; what a
// message means is decided above.
import { type Errno, errnoNumber } from '../base/errno.js';
import { assert, LessorError, ProtocolError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { closeAll, type Fd } from '../os/fd.js';
import type { Decoded } from '../uapi/struct.js';
import {
  header,
  VFIO_USER_F_ERROR,
  VFIO_USER_F_TYPE_COMMAND,
  VFIO_USER_F_TYPE_MASK,
  VFIO_USER_F_TYPE_REPLY,
} from '../uapi/vfio-user.js';

export type Header = Decoded<typeof header>;
export const headerBytes = header.sizeBytes;

/** One message. Whoever holds it closes its descriptors. */
export interface Message {
  readonly header: Header;
  readonly payload: Uint8Array;
  readonly fds: readonly Fd[];
  /** Descriptors that the screening of the socket closed. */
  readonly refusedCount: number;
}

export interface MessageSink {
  /**
   * A header arrived; its payload has neither been read nor allocated. An error thrown here ends
   * the stream.
   */
  header(header: Header, fdCount: number): void;
  /** A whole message; ownership of its descriptors passes. */
  message(message: Message): void;
  /** Whether a further message may be taken out of bytes that were read ahead. */
  isReady(): boolean;
}

export function isReply(message: Header): boolean {
  return (message.flags & VFIO_USER_F_TYPE_MASK) === VFIO_USER_F_TYPE_REPLY;
}

const noBytes = new Uint8Array(0);
const noFds: readonly Fd[] = [];

/** As `header.decodeAt`, which reads any struct and takes five times as long. */
function decodeHeader(bytes: Uint8Array, at: number): Header {
  return {
    messageId: readU16(bytes, at),
    command: readU16(bytes, at + 2),
    messageSize: readU32(bytes, at + 4),
    flags: readU32(bytes, at + 8),
    errno: readU32(bytes, at + 12),
  };
}

function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

function readU32(bytes: Uint8Array, at: number): number {
  return (readU16(bytes, at) | (readU16(bytes, at + 2) << 16)) >>> 0;
}

function writeU16(into: Uint8Array, at: number, value: number): void {
  into[at] = value;
  into[at + 1] = value >> 8;
}

function writeU32(into: Uint8Array, at: number, value: number): void {
  writeU16(into, at, value);
  writeU16(into, at + 2, value >>> 16);
}

function checkHeader(value: Header): void {
  const { messageSize, flags } = value;
  if (messageSize < headerBytes) {
    const detail = `${messageSize} bytes are less than a header`;
    throw new ProtocolError('vfio_user_header.messageSize', 4, detail);
  }
  if (messageSize > limits.vfioUserMessageBytesMax) {
    const detail = `a message of ${messageSize} bytes is over ${limits.vfioUserMessageBytesMax}`;
    throw new LessorError('FRAME_TOO_LARGE', detail);
  }
  const type = flags & VFIO_USER_F_TYPE_MASK;
  if (type !== VFIO_USER_F_TYPE_COMMAND && type !== VFIO_USER_F_TYPE_REPLY) {
    throw new ProtocolError('vfio_user_header.flags', 8, `message type ${type}`);
  }
}

/** Collects bytes and descriptors until they make a message. */
export class FrameReader {
  readonly #sink: MessageSink;
  readonly #headerBuffer = new Uint8Array(headerBytes);
  #header: Header | undefined;
  #payload: Uint8Array = noBytes;
  #filled = 0;
  #fds: readonly Fd[] = noFds;
  #refusedCount = 0;

  constructor(sink: MessageSink) {
    this.#sink = sink;
  }

  /** Bytes that still belong to the part being read: at least 1. */
  wantBytes(): number {
    if (this.#header === undefined) return headerBytes - this.#filled;
    return this.#header.messageSize - headerBytes - this.#filled;
  }

  /**
   * Takes at most `wantBytes()` bytes and owns their descriptors from here on.
   *
   * @throws ProtocolError, LessorError for what ends the stream. Call `discard` then.
   */
  take(bytes: Uint8Array, fds: readonly Fd[], refusedCount: number): void {
    assert(bytes.length <= this.wantBytes(), `${bytes.length} bytes were not asked for`);
    this.#keep(fds, refusedCount);
    if (this.#header === undefined) this.#takeHeader(bytes);
    else this.#takePayload(this.#header, bytes);
  }

  /**
   * Takes bytes that carry no descriptors, any number of messages of them, as long as the sink is
   * ready for more. `bytes` may be used again afterwards.
   *
   * @param lostFds - Descriptors came with the last send in them and were closed: they count as
   *   refused for the last message that begins here.
   * @returns How many of the first `lengthBytes` were taken.
   * @throws as `take`
   */
  takeAhead(bytes: Uint8Array, lengthBytes: number, lostFds = false): number {
    const lostAt = lostFds ? this.#lastStart(bytes, lengthBytes) : -1;
    let at = 0;
    while (at < lengthBytes && this.#sink.isReady()) {
      if (at === lostAt) this.#keep(noFds, 1);
      const isStart = this.#header === undefined && this.#filled === 0 && at !== lostAt;
      const wholeBytes = isStart ? this.#takeWhole(bytes, at, lengthBytes) : 0;
      if (wholeBytes > 0) {
        at += wholeBytes;
        continue;
      }
      const partBytes = Math.min(this.wantBytes(), lengthBytes - at);
      this.take(bytes.slice(at, at + partBytes), noFds, 0);
      at += partBytes;
    }
    return at;
  }

  /** Where the last message begins, 0 when that was before. */
  #lastStart(bytes: Uint8Array, lengthBytes: number): number {
    const isStart = this.#header === undefined && this.#filled === 0;
    let at = 0;
    let next = isStart ? 0 : this.#restBytes(bytes);
    while (next < lengthBytes) {
      at = next;
      if (at + headerBytes > lengthBytes) break;
      // What is too small ends the stream when it is taken.
      next += Math.max(headerBytes, readU32(bytes, at + 4));
    }
    return at;
  }

  /** Bytes to the end of the message that is being read; its header may end in `bytes`. */
  #restBytes(bytes: Uint8Array): number {
    if (this.#header !== undefined) return this.wantBytes();
    const whole = new Uint8Array(headerBytes);
    whole.set(this.#headerBuffer.subarray(0, this.#filled));
    whole.set(bytes.subarray(0, headerBytes - this.#filled), this.#filled);
    return Math.max(headerBytes, readU32(whole, 4)) - this.#filled;
  }

  /** @returns The bytes of the message that begins at `at`; 0 when not all of it is there. */
  #takeWhole(bytes: Uint8Array, at: number, lengthBytes: number): number {
    const payloadAt = at + headerBytes;
    if (payloadAt > lengthBytes) return 0;
    const messageSize = readU32(bytes, at + 4);
    const end = at + messageSize;
    if (end > lengthBytes) return 0;
    const value = decodeHeader(bytes, at);
    checkHeader(value);
    this.#sink.header(value, 0);
    const payload = end === payloadAt ? noBytes : bytes.slice(payloadAt, end);
    this.#sink.message({ header: value, payload, fds: noFds, refusedCount: 0 });
    return messageSize;
  }

  /** Closes the descriptors of a message that will not be completed. */
  discard(): void {
    closeAll(this.#fds);
    this.#reset();
  }

  /** Descriptors with the first bytes of a message are its own; with its payload, nobody's. */
  #keep(fds: readonly Fd[], refusedCount: number): void {
    if (fds.length === 0 && refusedCount === 0) return;
    this.#fds = this.#fds.length === 0 ? fds : [...this.#fds, ...fds];
    this.#refusedCount += refusedCount;
    const count = this.#fds.length + this.#refusedCount;
    if (this.#header !== undefined) {
      throw new LessorError('FD_UNEXPECTED', 'descriptors came with the payload of a message');
    }
    if (count > limits.vfioUserFdsMax) {
      throw new LessorError('FD_UNEXPECTED', `${count} descriptors came with one message`);
    }
  }

  #takeHeader(bytes: Uint8Array): void {
    let whole = bytes;
    if (bytes.length !== headerBytes) {
      this.#headerBuffer.set(bytes, this.#filled);
      this.#filled += bytes.length;
      if (this.#filled < headerBytes) return;
      whole = this.#headerBuffer;
    }
    const value = decodeHeader(whole, 0);
    checkHeader(value);
    this.#sink.header(value, this.#fds.length + this.#refusedCount);
    this.#filled = 0;
    this.#header = value;
    if (value.messageSize === headerBytes) this.#deliver(value, noBytes);
  }

  #takePayload(value: Header, bytes: Uint8Array): void {
    const payloadBytes = value.messageSize - headerBytes;
    // The usual case: all of it in one read, and the view is ours to keep.
    if (bytes.length === payloadBytes) {
      this.#deliver(value, bytes);
      return;
    }
    if (this.#filled === 0) this.#payload = new Uint8Array(payloadBytes);
    this.#payload.set(bytes, this.#filled);
    this.#filled += bytes.length;
    if (this.#filled === payloadBytes) this.#deliver(value, this.#payload);
  }

  #deliver(value: Header, payload: Uint8Array): void {
    const message = { header: value, payload, fds: this.#fds, refusedCount: this.#refusedCount };
    this.#reset();
    this.#sink.message(message);
  }

  #reset(): void {
    this.#header = undefined;
    this.#payload = noBytes;
    this.#filled = 0;
    this.#fds = noFds;
    this.#refusedCount = 0;
  }
}

/** A buffer for header and payload, its header filled in. */
export function frame(
  messageId: number,
  command: number,
  flags: number,
  payloadBytes: number,
): Uint8Array {
  const messageSize = headerBytes + payloadBytes;
  const buffer = new Uint8Array(messageSize);
  writeU16(buffer, 0, messageId);
  writeU16(buffer, 2, command);
  writeU32(buffer, 4, messageSize);
  writeU32(buffer, 8, flags);
  return buffer;
}

/** The reply to `request` that says it failed: a header alone. */
export function errorFrame(request: Header, errno: Errno): Uint8Array {
  return header.encode({
    messageId: request.messageId,
    command: request.command,
    messageSize: headerBytes,
    flags: VFIO_USER_F_TYPE_REPLY | VFIO_USER_F_ERROR,
    errno: errnoNumber(errno),
  });
}
