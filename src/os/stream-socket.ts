// A connected stream socket on the event loop: bounded reads with their descriptors, queued sends.
// Who owns a descriptor in which outcome is told at each method of StreamSocket.
import type { Clock } from '../base/clock.js';
import { assert, isOsError, LessorError, ProtocolError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { closeAll, Fd, type FdCalls } from './fd.js';
import type { Received } from './helper-types.js';
import { checkResult, osError } from './native-result.js';
import { type PollCalls, pollEvents, receiveReport, type SocketCalls } from './native-sockets.js';
import { Readiness } from './readiness.js';
import { SendQueue } from './send-queue.js';
import * as socket from './socket-constants.js';
import type {
  PeerCredentials,
  StreamHandler,
  StreamOptions,
  StreamSocket,
} from './socket-types.js';

export type StreamCalls = FdCalls & SocketCalls & PollCalls;

/** Reads per turn of the event loop, so that a busy peer cannot starve others. */
const readsPerTurn = 16;
/** Reads that may follow a broken send: what a dead peer had sent before. */
const readsAfterBrokenSend = 4096;
const endDeadlineMsDefault = 1000;

// One of each per thread: reads do not nest, and what arrived is copied out before anyone sees it.
const scratch = new Uint8Array(65_536);
const report = new Int32Array(receiveReport.length);

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
    const result = this.#queue.send(this.fd.number, bytes, fds);
    if (typeof result === 'string') this.#break(fullError(result));
    else if (result < 0) this.#break(osError(result, 'sendmsg'));
    else this.#updateInterest();
  }

  end(deadlineMs: number = endDeadlineMsDefault): void {
    if (!this.isOpen || this.#ending) return;
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
    for (let turn = 0; turn < readsPerTurn && this.#mayRead; turn++) {
      if (!this.#readOnce()) break;
    }
  }

  #flush(): void {
    if (!this.isOpen) return;
    const result = this.#queue.flush(this.fd.number);
    if (result < 0) this.#break(osError(result, 'sendmsg'));
    else if (this.#queue.isEmpty && this.#ending) this.#finish(undefined);
    else this.#updateInterest();
  }

  /** @returns False when there is nothing to read for now. */
  #readOnce(): boolean {
    const wantBytes = Math.min(this.#handler?.wantBytes() ?? 0, scratch.length);
    assert(wantBytes >= 1, 'a stream handler wants at least one byte');
    const screened = this.#options.screen !== undefined;
    let lengthBytes = wantBytes;
    if (screened) {
      const peeked = this.#receive(wantBytes, socket.MSG_PEEK, false);
      if (peeked > 0 && ((report[receiveReport.flags] ?? 0) & socket.MSG_CTRUNC) !== 0) {
        this.#receiveByHelper(wantBytes);
        return false;
      }
      if (peeked <= 0) return this.#nothingRead(peeked);
      lengthBytes = peeked;
    }
    const received = this.#receive(lengthBytes, socket.MSG_CMSG_CLOEXEC, !screened);
    if (received <= 0) return this.#nothingRead(received);
    const fds: Fd[] = [];
    for (let index = 0; index < (report[receiveReport.count] ?? 0); index++) {
      fds.push(new Fd(this.#calls, report[receiveReport.fds + index] ?? -1));
    }
    const truncated = ((report[receiveReport.flags] ?? 0) & socket.MSG_CTRUNC) !== 0;
    if (truncated || fds.length > this.#options.fdsMax) {
      const count = fds.length;
      closeAll(fds);
      this.#finish(truncated ? truncatedError() : surplusError(count, this.#options.fdsMax));
      return false;
    }
    this.#handler?.data(scratch.slice(0, received), fds, 0);
    return true;
  }

  #receive(lengthBytes: number, flags: number, withControl: boolean): number {
    const { number } = this.fd;
    const all = flags | socket.MSG_DONTWAIT;
    for (;;) {
      const got = this.#calls.receiveMessage(
        number,
        scratch,
        lengthBytes,
        report,
        all,
        withControl,
      );
      if (got !== -socket.EINTR) return got;
    }
  }

  #nothingRead(result: number): false {
    if (result === 0) this.#finish(this.#broken);
    else if (result !== -socket.EAGAIN) this.#finish(this.#broken ?? osError(result, 'recvmsg'));
    return false;
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
        if (!this.#readOnce()) this.#readsLeft = 0;
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
    this.#queue.clear();
    // A helper that is stuck holds the socket too: closing alone would not reach the peer.
    if (this.#suspended) this.#calls.shutdown(this.fd.number, socket.SHUT_RDWR);
    this.fd.close();
    return handler;
  }
}

function fullError(what: string): ProtocolError {
  const detail = `the peer does not read: too many ${what} wait for it`;
  return new ProtocolError('socket.sendQueue', 0, detail, { errno: 'ENOBUFS' });
}

function truncatedError(): ProtocolError {
  return new ProtocolError('socket.control', 0, 'descriptors were lost', { errno: 'EPROTO' });
}

function surplusError(count: number | undefined, fdsMax: number): ProtocolError {
  const detail = `${count ?? 'unexpected'} descriptors, at most ${fdsMax}`;
  return new ProtocolError('socket.fds', 0, detail, { errno: 'EPROTO' });
}
