// One connection, both directions: hands commands of the peer upwards, sends our own and matches
// replies to them by type bit and id. What a command means is decided above.
import type { Clock } from '../base/clock.js';
import { errnoName } from '../base/errno.js';
import { errnoOf, LessorError, OsError, ProtocolError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { closeAll, type Fd } from '../os/fd.js';
import type { StreamHandler, StreamOptions, StreamSocket } from '../os/socket-types.js';
import { VFIO_USER_F_ERROR, VFIO_USER_F_TYPE_REPLY } from '../uapi/vfio-user.js';
import { FrameReader, type Header, headerBytes, isReply, type Message } from './framing.js';

export interface LinkHandler {
  /** Whether some command of the peer takes descriptors. */
  readonly commandsTakeFds: boolean;
  /**
   * The header of a command, its payload not yet read. An error thrown here ends the connection.
   */
  commandHeader(header: Header, fdCount: number): void;
  /** A command; ownership of its descriptors passes. Throwing an expected error ends the link. */
  command(message: Message): void;
  /** The connection is over, once, unless we closed it ourselves. Undefined: end-of-file. */
  ended(error: Error | undefined): void;
  /** Everything was sent; comes after `isCongested`, at the latest. */
  drained?(): void;
}

/** What a reply may look like, so that its size is judged before it is read. */
export interface Expectation {
  readonly payloadBytesMax: number;
  readonly fdsMax: number;
  readonly deadlineMs: number;
}

interface Pending {
  readonly command: number;
  readonly expected: Expectation;
  readonly dueMs: number;
  /** Reads the reply and settles the request; throws what ends the connection. */
  readonly finish: (reply: Message) => void;
  readonly reject: (error: Error) => void;
  /** Its deadline passed: the reply, when it comes, is dropped. */
  abandoned: boolean;
}

const idCount = 0x1_0000;
const flushMs = 1000;

export class Link implements StreamHandler {
  readonly #socket: StreamSocket;
  readonly #handler: LinkHandler;
  readonly #clock: Clock;
  readonly #reader: FrameReader;
  readonly #pending = new Map<number, Pending>();
  #nextId = 0;
  #timer: Disposable | undefined;
  #timerDueMs = 0;
  #open = true;
  #isPaused = false;
  /** Pending requests whose reply may bring descriptors. */
  #fdReplyCount = 0;
  /** What was read ahead and waits until the handler reads on. */
  #rest: Uint8Array | undefined;
  #restLostFds = false;
  #isTakingRest = false;

  constructor(socket: StreamSocket, handler: LinkHandler, clock: Clock) {
    this.#socket = socket;
    this.#handler = handler;
    this.#clock = clock;
    this.#reader = new FrameReader({
      header: (header, fdCount) => this.#onHeader(header, fdCount),
      message: (message) => this.#onMessage(message),
      isReady: () => this.#open && !this.#isPaused,
    });
  }

  /** @param fdsMax - Descriptors taken with one message; 0: the peer may pass none. */
  start(screen: StreamOptions['screen'], fdsMax: number = limits.vfioUserFdsMax): void {
    const options = { fdsMax, gather: true };
    this.#socket.start(this, screen === undefined ? options : { ...options, screen });
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Requests whose reply did not come yet, also those that nobody waits for any more. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  /**
   * Whether the peer reads so slowly that nothing more should be done for it. Replies to our own
   * requests are read all the same: two ends that wait for each other would wait for ever.
   */
  get isCongested(): boolean {
    return this.#socket.queuedBytes > limits.vfioUserUnsentBytesMax;
  }

  /** Sends a finished frame. Takes ownership of `fds`. */
  send(bytes: Uint8Array, fds?: readonly Fd[]): void {
    this.#socket.send(bytes, fds);
  }

  /** Sends at once what `send` and `request` gathered. */
  flush(): void {
    this.#socket.flush();
  }

  /**
   * Sends a command and resolves with what `read` makes of its reply.
   *
   * @param bytes - A frame; its message id is filled in here.
   * @param fds - Ownership passes in every outcome.
   * @param read - Owns the reply's descriptors once it returns. An error that it throws rejects
   *   the request and ends the connection, for the peer sent nonsense.
   * @throws OsError with the peer's errno, or that of the broken connection; LessorError
   *   `DEADLINE_EXCEEDED`, `QUEUE_FULL`; what `read` throws.
   */
  request<T>(
    bytes: Uint8Array,
    command: number,
    fds: readonly Fd[] | undefined,
    expected: Expectation,
    read: (reply: Message) => T,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!this.#open || this.#pending.size === idCount) {
        if (fds !== undefined) closeAll(fds);
        const full = new LessorError('QUEUE_FULL', 'every message id waits for a reply');
        reject(this.#open ? full : new OsError('EPIPE', 'sendmsg', 'connection closed'));
        return;
      }
      while (this.#pending.has(this.#nextId)) this.#nextId = (this.#nextId + 1) % idCount;
      const id = this.#nextId;
      this.#nextId = (id + 1) % idCount;
      bytes[0] = id & 0xff;
      bytes[1] = id >> 8;
      const dueMs = this.#clock.nowMs() + expected.deadlineMs;
      const finish = (reply: Message): void => resolve(read(reply));
      this.#pending.set(id, { command, expected, dueMs, finish, reject, abandoned: false });
      if (expected.fdsMax > 0) this.#fdReplyCount++;
      this.#watch(dueMs);
      this.#socket.send(bytes, fds);
    });
  }

  /** Hands no command up until `resume`, also none that was read already. */
  pause(): void {
    this.#isPaused = true;
    this.#updateReading();
  }

  resume(): void {
    this.#isPaused = false;
    this.#updateReading();
  }

  /** Closes; `ended` is not called. What was sent is still delivered when `flush` is set. */
  close(reason: Error, flush = false): void {
    if (!this.#open) return;
    this.#open = false;
    this.#rest = undefined;
    this.#reader.discard();
    this.#timer?.[Symbol.dispose]();
    if (flush) this.#socket.end(flushMs);
    else this.#socket[Symbol.dispose]();
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const entry of pending) entry.reject(reason);
  }

  /** Closes because of the peer, and says so. */
  fail(error: Error | undefined, flush = false): void {
    if (!this.#open) return;
    this.close(error ?? new OsError('EPIPE', 'recvmsg', 'the peer closed the connection'), flush);
    this.#handler.ended(error);
  }

  wantBytes(): number {
    return this.#reader.wantBytes();
  }

  data(bytes: Uint8Array, fds: Fd[], refusedCount: number): void {
    if (!this.#open) {
      closeAll(fds);
      return;
    }
    try {
      this.#reader.take(bytes, fds, refusedCount);
    } catch (error) {
      // Only what the peer did wrong ends the connection; our own bugs go on to the top.
      if (errnoOf(error) === undefined) throw error;
      this.fail(error as Error);
    }
  }

  ahead(buffer: Uint8Array, lengthBytes: number, lostFds: boolean): void {
    if (!this.#open) return;
    try {
      const taken = this.#reader.takeAhead(buffer, lengthBytes, lostFds);
      if (taken === lengthBytes || !this.#open) return;
      this.#rest = buffer.slice(taken, lengthBytes);
      this.#restLostFds = lostFds;
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      this.fail(error as Error);
    }
  }

  refusesFds(): boolean {
    return !this.#handler.commandsTakeFds && this.#fdReplyCount === 0;
  }

  drained(): void {
    this.#handler.drained?.();
  }

  end(error: Error | undefined): void {
    this.fail(error);
  }

  /** What was read ahead comes before what is in the socket. */
  #updateReading(): void {
    if (!this.#open) return;
    if (this.#isPaused) {
      this.#socket.pause();
    } else if (this.#rest === undefined) {
      this.#socket.resume();
    } else if (!this.#isTakingRest) {
      this.#isTakingRest = true;
      // Whoever resumes is in the middle of something.
      queueMicrotask(() => this.#takeRest());
    }
  }

  #takeRest(): void {
    this.#isTakingRest = false;
    const rest = this.#rest;
    if (rest === undefined || !this.#open || this.#isPaused) return;
    this.#rest = undefined;
    this.ahead(rest, rest.length, this.#restLostFds);
    this.#updateReading();
  }

  #onHeader(header: Header, fdCount: number): void {
    if (!isReply(header)) {
      this.#handler.commandHeader(header, fdCount);
      return;
    }
    const entry = this.#pending.get(header.messageId);
    const path = 'vfio_user_header';
    if (entry === undefined) {
      throw new ProtocolError(`${path}.messageId`, 0, 'a reply that nobody asked for');
    }
    if (header.command !== entry.command) {
      throw new ProtocolError(`${path}.command`, 2, `a reply to command ${header.command}`);
    }
    if ((header.flags & ~VFIO_USER_F_ERROR) >>> 0 !== VFIO_USER_F_TYPE_REPLY) {
      throw new ProtocolError(`${path}.flags`, 8, `0x${header.flags.toString(16)} in a reply`);
    }
    if (header.messageSize - headerBytes > entry.expected.payloadBytesMax) {
      throw new ProtocolError(`${path}.messageSize`, 4, `a reply of ${header.messageSize} bytes`);
    }
    if (fdCount > entry.expected.fdsMax) {
      throw new LessorError('FD_UNEXPECTED', `${fdCount} descriptors came with a reply`);
    }
  }

  #onMessage(message: Message): void {
    if (!isReply(message.header)) {
      this.#handler.command(message);
      return;
    }
    const { messageId, flags, errno } = message.header;
    // The entry was there when the header came; only `close` removes entries in between.
    const entry = this.#pending.get(messageId);
    this.#pending.delete(messageId);
    if (entry !== undefined && entry.expected.fdsMax > 0) this.#fdReplyCount--;
    const isError = (flags & VFIO_USER_F_ERROR) !== 0;
    if (entry === undefined || entry.abandoned || isError) closeAll(message.fds);
    if (entry === undefined || entry.abandoned) return;
    if (isError) {
      entry.reject(new OsError(errnoName(errno), 'vfio-user', `command ${entry.command}`));
      return;
    }
    try {
      entry.finish(message);
    } catch (error) {
      closeAll(message.fds);
      entry.reject(error as Error);
      throw error;
    }
  }

  /** One timer serves all requests: armed for the first that is due, moved on when it fires. */
  #watch(dueMs: number): void {
    if (this.#timer !== undefined) {
      if (dueMs >= this.#timerDueMs) return;
      this.#timer[Symbol.dispose]();
    }
    this.#timerDueMs = dueMs;
    const delayMs = Math.max(0, dueMs - this.#clock.nowMs());
    this.#timer = this.#clock.after(delayMs, () => {
      this.#timer = undefined;
      this.#expire();
    });
  }

  #expire(): void {
    const nowMs = this.#clock.nowMs();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const entry of this.#pending.values()) {
      if (entry.abandoned) continue;
      if (entry.dueMs <= nowMs) {
        entry.abandoned = true;
        const detail = `no reply to command ${entry.command} in ${entry.expected.deadlineMs} ms`;
        entry.reject(new LessorError('DEADLINE_EXCEEDED', detail));
      } else {
        nextMs = Math.min(nextMs, entry.dueMs);
      }
    }
    if (this.#open && nextMs !== Number.POSITIVE_INFINITY) this.#watch(nextMs);
  }
}
