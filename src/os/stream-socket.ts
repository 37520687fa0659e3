// A connected stream socket on the event loop: bounded reads with their descriptors, queued sends.
// Who owns a descriptor in which outcome is told at each method of StreamSocket.
import type { Clock } from '../base/clock.js';
import { assert, isOsError, LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { closeAll, Fd, type FdCalls } from './fd.js';
import type { Received } from './helper-types.js';
import { checkResult, osError } from './native-result.js';
import { type PollCalls, pollEvents, receiveReport, type SocketCalls } from './native-sockets.js';
import { Readiness } from './readiness.js';
import {
  aheadBytesMax,
  receive,
  received,
  receivedFds,
  receivePlain,
  wasTruncated,
} from './receive.js';
import { gatherBytesMax, SendQueue, type SendResult } from './send-queue.js';
import * as socket from './socket-constants.js';
import type {
  PeerCredentials,
  StreamHandler,
  StreamOptions,
  StreamSocket,
} from './socket-types.js';

import { fullError, surplusError, truncatedError } from './stream-errors.js';

export type StreamCalls = FdCalls & SocketCalls & PollCalls;

/** Reads per turn of the event loop, so that a busy peer cannot starve others. */
const readsPerTurn = 16;
/** A read that went ahead counts once more for so many bytes. */
const bytesPerRead = 512;
/** Reads that may follow a broken send: what a dead peer had sent before. */
const readsAfterBrokenSend = 4096;
const endDeadlineMsDefault = 1000;
const settled = Promise.resolve();

function integerOption(value: number): Uint8Array {
  return new Uint8Array(Int32Array.of(value).buffer);
}

export class OsStreamSocket implements StreamSocket {
  readonly fd: Fd;
  readonly #calls: StreamCalls;
  readonly #clock: Clock;
  readonly #readiness: Readiness;
  readonly #queue: SendQueue;
  #handler: StreamHandler | undefined;
  #options: StreamOptions = { fdsMax: 0 };
  #paused = false;
  /** A helper process is receiving from the socket. */
  #suspended = false;
  #ending = false;
  #endTimer: Disposable | undefined;
  #broken: Error | undefined;
  #readsLeft = readsAfterBrokenSend;
  /** Reads that do not go ahead, for descriptors are queued: until they came, and one more. */
  #exactReads = 0;
  /** The reads of a turn are under way: what is sent meanwhile is flushed behind them. */
  #isReading = false;
  #isFlushDue = false;
  #wentAhead = false;
  /** The last read took all that was there. */
  #wasEmptied = false;

  /** Takes ownership of `fd`. */
  constructor(calls: StreamCalls, clock: Clock, fd: Fd) {
    this.fd = fd;
    this.#calls = calls;
    this.#clock = clock;
    this.#queue = new SendQueue(calls);
    this.#readiness = new Readiness(calls, fd.number, (events) => this.#onReady(events));
  }

  get isOpen(): boolean {
    return this.fd.isOpen;
  }

  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  start(handler: StreamHandler, options: StreamOptions): void {
    assert(this.#handler === undefined, 'a stream is started once');
    this.#handler = handler;
    this.#options = options;
    if (!this.isOpen) return;
    const { number } = this.fd;
    const { SOL_SOCKET } = socket;
    // Fails with ENOPROTOOPT before Linux 6.16: there a surplus is found when it is read.
    const passRights = integerOption(options.fdsMax > 0 ? 1 : 0);
    this.#calls.setSocketOption(number, SOL_SOCKET, socket.SO_PASSRIGHTS, passRights);
    // Out-of-band bytes would be peeked past and read after all: they could smuggle descriptors.
    this.#calls.setSocketOption(number, SOL_SOCKET, socket.SO_OOBINLINE, integerOption(1));
    this.#updateInterest();
  }

  pause(): void {
    this.#paused = true;
    this.#updateInterest();
  }

  resume(): void {
    this.#paused = false;
    this.#updateInterest();
  }

  /** Whether this socket alone keeps the process alive; it does at first. */
  keepAlive(keepsAlive: boolean): void {
    this.#readiness.keepAlive(keepsAlive);
  }

  send(bytes: Uint8Array, fds: readonly Fd[] = []): void {
    if (!this.isOpen || this.#ending || this.#broken !== undefined) {
      closeAll(fds);
      return;
    }
    if (bytes.length === 0 || fds.length > receiveReport.fdsMax) {
      closeAll(fds);
      assert(fds.length === 0, 'descriptors travel with a byte, at most 253 of them');
      return;
    }
    const { number } = this.fd;
    const gathers = this.#options.gather === true && fds.length === 0;
    if (!gathers || bytes.length > gatherBytesMax) {
      this.#afterSend(this.#queue.send(number, bytes, fds));
      return;
    }
    this.#afterSend(this.#queue.gather(number, bytes));
    if (this.#isReading || this.#isFlushDue) return;
    this.#isFlushDue = true;
    void settled.then(() => {
      this.#isFlushDue = false;
      this.flush();
    });
  }

  flush(): void {
    if (!this.#queue.hasGathered || !this.isOpen) return;
    this.#afterSend(this.#queue.flushGathered(this.fd.number));
  }

  end(deadlineMs: number = endDeadlineMsDefault): void {
    if (!this.isOpen || this.#ending) return;
    this.flush();
    this.#ending = true;
    if (this.#broken !== undefined || this.#queue.isEmpty) {
      const error = this.#broken;
      const handler = this.#close();
      queueMicrotask(() => handler?.end(error));
      return;
    }
    this.#endTimer = this.#clock.after(deadlineMs, () => {
      const left = `${this.#queue.bytes} bytes were not sent in ${deadlineMs} ms`;
      this.#finish(new LessorError('DEADLINE_EXCEEDED', left));
    });
    this.#updateInterest();
  }

  credentials(): PeerCredentials {
    const value = new Int32Array(3);
    this.#getOption(socket.SO_PEERCRED, value, 'SO_PEERCRED');
    const [pid = 0, uid = 0, gid = 0] = value;
    return { pid, uid: uid >>> 0, gid: gid >>> 0 };
  }

  peerPidfd(): Fd {
    const value = new Int32Array(1);
    this.#getOption(socket.SO_PEERPIDFD, value, 'SO_PEERPIDFD');
    return new Fd(this.#calls, value[0] ?? -1);
  }

  [Symbol.dispose](): void {
    this.#close();
  }

  #getOption(name: number, value: Int32Array, detail: string): void {
    const bytes = new Uint8Array(value.buffer);
    const { SOL_SOCKET } = socket;
    const result = this.#calls.getSocketOption(this.fd.number, SOL_SOCKET, name, bytes);
    checkResult(result, 'getsockopt', detail);
  }

  get #mayRead(): boolean {
    const wanted = this.#handler !== undefined && !this.#paused && !this.#ending;
    return wanted && !this.#suspended && this.isOpen;
  }

  #updateInterest(): void {
    if (!this.isOpen) return;
    const readable = this.#mayRead && this.#broken === undefined ? pollEvents.readable : 0;
    try {
      this.#readiness.want(readable | (this.#queue.isEmpty ? 0 : pollEvents.writable));
    } catch (error) {
      assert(isOsError(error), 'readiness fails with an errno alone');
      this.#break(error);
    }
  }

  #onReady(events: number): void {
    if ((events & pollEvents.writable) !== 0) this.#flush();
    if ((events & pollEvents.readable) === 0) return;
    this.#isReading = true;
    try {
      for (let left = readsPerTurn; left > 0 && this.#mayRead; ) {
        const got = this.#readOnce();
        const wasAnswered = this.#queue.hasGathered;
        this.flush();
        // The peer may have gone on at once when it was answered, on this CPU or another.
        if (got === 0 || (this.#wasEmptied && !wasAnswered)) break;
        left -= this.#wentAhead ? 1 + Math.floor(got / bytesPerRead) : 1;
      }
    } finally {
      this.#isReading = false;
    }
  }

  #afterSend(result: SendResult): void {
    if (typeof result === 'string') this.#break(fullError(result));
    else if (result < 0) this.#break(osError(result, 'sendmsg'));
    else this.#updateInterest();
  }

  #flush(): void {
    if (!this.isOpen) return;
    const result = this.#queue.flush(this.fd.number);
    if (result < 0) {
      this.#break(osError(result, 'sendmsg'));
      return;
    }
    if (this.#queue.isEmpty && this.#ending) {
      this.#finish(undefined);
      return;
    }
    this.#updateInterest();
    if (this.#queue.isEmpty) this.#handler?.drained?.();
  }

  /** @returns Bytes that were handed on; 0 when there is nothing to read for now. */
  #readOnce(): number {
    const handler = this.#handler;
    const wantBytes = Math.min(handler?.wantBytes() ?? 0, received.length);
    assert(handler !== undefined && wantBytes >= 1, 'a stream handler wants at least one byte');
    const ahead =
      handler.ahead === undefined || this.#exactReads > 0 ? undefined : this.#readAhead(wantBytes);
    this.#wentAhead = ahead !== undefined;
    this.#wasEmptied = ahead !== undefined && ahead < aheadBytesMax;
    if (ahead === undefined) return this.#readExactly(wantBytes);
    if (ahead <= 0) return this.#nothingRead(ahead);
    const lostFds = wasTruncated();
    if (lostFds && this.#options.fdsMax === 0) return this.#ended(surplusError(undefined, 0));
    handler.ahead?.(received, ahead, lostFds);
    return ahead;
  }

  /** @returns As `receivePlain`. */
  #readAhead(wantBytes: number): number | undefined {
    const { number } = this.fd;
    if (wantBytes > aheadBytesMax) return undefined;
    const refuses = this.#options.fdsMax === 0 || this.#handler?.refusesFds?.() === true;
    if (refuses && this.#options.screen === undefined)
      return receive(this.#calls, number, aheadBytesMax, 0, false);
    const plain = receivePlain(this.#calls, number);
    if (plain === undefined) this.#exactReads = Number.POSITIVE_INFINITY;
    return plain;
  }

  #readExactly(wantBytes: number): number {
    const { number } = this.fd;
    const screened = this.#options.screen !== undefined;
    let lengthBytes = wantBytes;
    if (screened) {
      const peeked = receive(this.#calls, number, wantBytes, socket.MSG_PEEK, false);
      if (peeked > 0 && wasTruncated()) {
        this.#receiveByHelper(wantBytes);
        return 0;
      }
      if (peeked <= 0) return this.#nothingRead(peeked);
      lengthBytes = peeked;
    }
    const got = receive(this.#calls, number, lengthBytes, socket.MSG_CMSG_CLOEXEC, !screened);
    if (got <= 0) return this.#nothingRead(got);
    const fds = receivedFds(this.#calls);
    this.#readExact(fds.length > 0);
    if (wasTruncated() || fds.length > this.#options.fdsMax) {
      closeAll(fds);
      const error = wasTruncated()
        ? truncatedError()
        : surplusError(fds.length, this.#options.fdsMax);
      return this.#ended(error);
    }
    this.#handler?.data(received.slice(0, got), fds, 0);
    return got;
  }

  /** What follows descriptors is the rest of their message: not worth a look. */
  #readExact(withFds: boolean): void {
    if (withFds) this.#exactReads = 1;
    else if (this.#exactReads > 0) this.#exactReads--;
  }

  #nothingRead(result: number): 0 {
    if (result === 0) return this.#ended(this.#broken);
    if (result === -socket.EAGAIN) return 0;
    return this.#ended(this.#broken ?? osError(result, 'recvmsg'));
  }

  #ended(error: Error | undefined): 0 {
    this.#finish(error);
    return 0;
  }

  /** The next bytes carry descriptors of a peer that is not trusted. */
  #receiveByHelper(wantBytes: number): void {
    const { fdsMax, screen } = this.#options;
    assert(screen !== undefined, 'screening has a helper pool');
    if (fdsMax === 0) {
      this.#finish(surplusError(undefined, 0));
      return;
    }
    this.#suspended = true;
    this.#updateInterest();
    const terms = { uid: screen.uid, deadlineMs: limits.helperDeadlineMs };
    void screen.helpers.receive(this.fd, wantBytes, fdsMax, terms).then(
      (received) => this.#onHelperReceived(received),
      (error: unknown) => this.#onHelperFailed(error),
    );
  }

  #onHelperReceived(received: Received): void {
    this.#suspended = false;
    if (!this.isOpen || this.#ending) {
      closeAll(received.fds);
      return;
    }
    this.#readExact(received.fds.length + received.refusedCount > 0);
    if (received.bytes.length === 0) this.#finish(this.#broken);
    else this.#handler?.data(received.bytes, received.fds, received.refusedCount);
    this.#afterHelper();
  }

  #onHelperFailed(error: unknown): void {
    this.#suspended = false;
    if (!this.isOpen) return;
    if (!isOsError(error, 'EAGAIN')) this.#finish(error as Error);
    this.#afterHelper();
  }

  #afterHelper(): void {
    if (!this.isOpen) return;
    if (this.#broken === undefined) this.#updateInterest();
    else this.#drainAfterBreak();
  }

  /** Sending is over. Ends the stream in a later turn, never inside a call of its user. */
  #break(error: Error): void {
    this.#queue.clear();
    if (this.#broken !== undefined) return;
    this.#broken = error;
    // What a peer sent before it closed is still to be read.
    const peerClosed = isOsError(error, 'EPIPE') || isOsError(error, 'ECONNRESET');
    if (!peerClosed) this.#readsLeft = 0;
    this.#updateInterest();
    this.#drainAfterBreak();
  }

  #drainAfterBreak(): void {
    setImmediate(() => {
      if (!this.isOpen || this.#suspended) return;
      for (let turn = 0; turn < readsPerTurn && this.#mayRead && this.#readsLeft > 0; turn++) {
        this.#readsLeft--;
        if (this.#readOnce() === 0) this.#readsLeft = 0;
      }
      if (!this.isOpen || this.#suspended) return;
      if (this.#mayRead && this.#readsLeft > 0) this.#drainAfterBreak();
      else this.#finish(this.#broken);
    });
  }

  /** Closes, then tells the handler. */
  #finish(error: Error | undefined): void {
    if (!this.isOpen) return;
    this.#close()?.end(error);
  }

  /** @returns The handler to tell, if any; it is told nothing else. */
  #close(): StreamHandler | undefined {
    if (!this.isOpen) return undefined;
    const handler = this.#handler;
    this.#endTimer?.[Symbol.dispose]();
    this.#readiness[Symbol.dispose]();
    if (this.#broken === undefined) this.#queue.flushGathered(this.fd.number);
    this.#queue.clear();
    // A helper that is stuck holds the socket too: closing alone would not reach the peer.
    if (this.#suspended) this.#calls.shutdown(this.fd.number, socket.SHUT_RDWR);
    this.fd.close();
    return handler;
  }
}
