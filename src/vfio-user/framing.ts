// Splits a stream into vfio-user messages: the header is read alone, then the payload, so that
// descriptors belong to the message whose header they came with. Judges what ends a connection
// in either direction; what a message means is decided above.
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
}

export function isReply(message: Header): boolean {
  return (message.flags & VFIO_USER_F_TYPE_MASK) === VFIO_USER_F_TYPE_REPLY;
}

const noBytes = new Uint8Array(0);
const noFds: readonly Fd[] = [];

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
    const value = header.decode(whole);
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
  header.encodeAt({ messageId, command, messageSize, flags, errno: 0 }, buffer, 0);
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
