// The caller's end of one connection. Calls are answered in order; one with `more` keeps the
// connection to itself until its last reply.
import type { Clock } from '../base/clock.js';
import { assert, isProtocolError, LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { closeAll, type Fd } from '../os/fd.js';
import type { StreamSocket } from '../os/socket-types.js';
import { fromErrorReply } from './errors.js';
import { encodeFrame, type Frame, FrameReader } from './frames.js';
import type { JsonObject } from './json.js';
import { decodeReply, type ReplyMessage } from './messages.js';
import { type MoreReplies, type Reply, ReplyQueue } from './reply-queue.js';
import { UpgradedSocket } from './upgraded-socket.js';

export type { MoreReplies, Reply } from './reply-queue.js';

export interface CallOptions {
  /** Go with the call, named by their index; ownership passes in every outcome. */
  readonly fds?: readonly Fd[];
  /** For the (first) reply; none: waits for ever. */
  readonly deadlineMs?: number;
}

/** A call that waits for its replies. */
interface Outstanding {
  readonly method: string;
  /** Takes ownership of the descriptors. */
  reply(reply: Reply): void;
  fail(error: Error): void;
}

const repliesAheadMax = 64;

export class VarlinkClient implements Disposable {
  readonly #socket: StreamSocket;
  readonly #clock: Clock;
  readonly #reader = new FrameReader({
    messageBytesMax: limits.varlinkReplyBytesMax,
    fdsMax: limits.varlinkFdsMax,
  });
  readonly #outstanding: Outstanding[] = [];
  readonly #closed = new AbortController();
  #error: Error | undefined;
  #streaming: string | undefined;
  #isUpgrading = false;
  #upgraded: UpgradedSocket | undefined;

  /** Takes ownership of the socket, and starts it. */
  constructor(socket: StreamSocket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
    socket.start(
      {
        wantBytes: () => this.#wantBytes(),
        data: (bytes, fds, refusedCount) => {
          if (this.#upgraded !== undefined) this.#upgraded.data(bytes, fds, refusedCount);
          else this.#data(bytes, fds, refusedCount);
        },
        end: (error) => {
          if (this.#upgraded !== undefined) this.#upgraded.finished(error);
          else this.#fail(gone(error));
        },
      },
      { fdsMax: limits.upgradedFdsMax },
    );
  }

  /** Aborted when the connection is over; the reason is the error. */
  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  /**
   * Calls a method that answers once.
   *
   * @throws LessorError what the service answered; `BROKER_GONE` when the connection ended;
   *   `DEADLINE_EXCEEDED`, after which a late answer is dropped.
   */
  call<Parameters = JsonObject>(
    method: string,
    parameters: object = {},
    options: CallOptions = {},
  ): Promise<Reply<Parameters>> {
    this.#assertFree(method, this.#streaming, options);
    return new Promise((resolve, reject) => {
      const deadline = this.#deadline(method, options, reject);
      this.#send(method, parameters, options, undefined, {
        method,
        reply: (reply) => {
          if (deadline.passed) closeAll(reply.fds);
          deadline[Symbol.dispose]();
          resolve(reply as Reply<Parameters>);
        },
        fail: (error) => {
          deadline[Symbol.dispose]();
          reject(error);
        },
      });
    });
  }

  /**
   * Calls a method after whose reply the connection speaks another protocol. This client is closed
   * then, and the socket the caller's, not yet started. A refusal leaves everything as it was.
   *
   * @throws LessorError as `call`; after `DEADLINE_EXCEEDED` the connection is closed, for nobody
   *   could know what it speaks.
   */
  async upgrade<Parameters = JsonObject>(
    method: string,
    parameters: object = {},
    options: CallOptions = {},
  ): Promise<{ readonly parameters: Parameters; readonly socket: StreamSocket }> {
    this.#assertFree(method, this.#outstanding[0]?.method, options);
    return new Promise((resolve, reject) => {
      const deadline = this.#deadline(method, options, (error) => this.#fail(error));
      this.#isUpgrading = true;
      const finish = (): void => {
        this.#isUpgrading = false;
        deadline[Symbol.dispose]();
      };
      this.#send(method, parameters, options, 'upgrade', {
        method,
        reply: (reply) => {
          finish();
          closeAll(reply.fds);
          resolve({ parameters: reply.parameters as Parameters, socket: this.#handOver() });
        },
        fail: (error) => {
          finish();
          reject(error);
        },
      });
    });
  }

  /**
   * Calls a method that answers any number of times. Leaving early closes the connection: Varlink
   * knows no other way to stop a service.
   */
  callMore<Parameters = JsonObject>(
    method: string,
    parameters: object = {},
    options: CallOptions = {},
  ): MoreReplies<Parameters> {
    this.#assertFree(method, this.#outstanding[0]?.method, options);
    const deadline = this.#deadline(method, options, (error) => this.#fail(error));
    const { queue, outstanding } = this.#stream<Parameters>(method, deadline);
    this.#streaming = method;
    this.#send(method, parameters, options, 'more', outstanding);
    return queue;
  }

  /**
   * Takes up a call with `more` that another process began on this connection, and whose last
   * reply has not come. The connection must be new here.
   */
  resumeMore<Parameters = JsonObject>(method: string): MoreReplies<Parameters> {
    assert(this.#outstanding.length === 0, 'a resumed connection has no other calls');
    const deadline = this.#deadline(method, {}, () => undefined);
    const { queue, outstanding } = this.#stream<Parameters>(method, deadline);
    if (this.#error !== undefined) {
      outstanding.fail(this.#error);
      return queue;
    }
    this.#streaming = method;
    this.#outstanding.push(outstanding);
    return queue;
  }

  #stream<Parameters>(
    method: string,
    deadline: Disposable,
  ): { queue: ReplyQueue<Parameters>; outstanding: Outstanding } {
    const queue = new ReplyQueue<Parameters>({
      stop: () => this[Symbol.dispose](),
      setPaused: (paused) => this.#setPaused(paused),
      aheadMax: repliesAheadMax,
    });
    const finish = (): void => {
      deadline[Symbol.dispose]();
      this.#streaming = undefined;
    };
    const outstanding: Outstanding = {
      method,
      reply: (reply) => {
        if (reply.continues) deadline[Symbol.dispose]();
        else finish();
        queue.push(reply as Reply<Parameters>);
      },
      fail: (error) => {
        finish();
        queue.fail(error);
      },
    };
    return { queue, outstanding };
  }

  /** Closes the connection; calls without an answer fail with `BROKER_GONE`. */
  [Symbol.dispose](): void {
    this.#fail(new LessorError('BROKER_GONE', 'the connection was closed here'));
  }

  #send(
    method: string,
    parameters: object,
    options: CallOptions,
    how: 'more' | 'upgrade' | undefined,
    outstanding: Outstanding,
  ): void {
    const { fds = [] } = options;
    if (this.#error !== undefined) {
      closeAll(fds);
      outstanding.fail(this.#error);
      return;
    }
    this.#outstanding.push(outstanding);
    this.#socket.send(encodeFrame({ method, parameters, ...(how ? { [how]: true } : {}) }), fds);
  }

  #assertFree(method: string, busyWith: string | undefined, { fds = [] }: CallOptions): void {
    if (busyWith !== undefined) closeAll(fds);
    assert(busyWith === undefined, `busy with ${busyWith}: ${method} needs another connection`);
  }

  /** Not a byte beyond the reply to an upgrade: what follows is the other protocol's. */
  #wantBytes(): number {
    if (this.#upgraded !== undefined) return this.#upgraded.wantBytes();
    return this.#isUpgrading ? 1 : limits.varlinkMessageBytesMax;
  }

  #handOver(): StreamSocket {
    const error = new LessorError('BROKER_GONE', 'the connection speaks another protocol now');
    this.#upgraded = new UpgradedSocket(this.#socket, limits.upgradedFdsMax, new Uint8Array(0));
    this.#error = error;
    this.#reader[Symbol.dispose]();
    this.#closed.abort(error);
    return this.#upgraded;
  }

  #data(bytes: Uint8Array, fds: Fd[], refusedCount: number): void {
    if (this.closed.aborted) {
      closeAll(fds);
      return;
    }
    try {
      this.#reader.feed(bytes, fds, refusedCount, (frame) => this.#receive(frame));
    } catch (error) {
      if (!isProtocolError(error)) throw error;
      const cause = { cause: error };
      this.#fail(new LessorError('FRAME_MALFORMED', error.message, cause));
    }
  }

  #receive({ text, fds }: Frame): void {
    let message: ReplyMessage;
    try {
      message = decodeReply(text);
    } catch (error) {
      closeAll(fds);
      throw error;
    }
    const { parameters, continues, error } = message;
    const first = this.#outstanding[0];
    if (first === undefined || (continues && first.method !== this.#streaming)) {
      closeAll(fds);
      this.#fail(new LessorError('FRAME_MALFORMED', 'a reply that nobody asked for'));
      return;
    }
    if (!continues || error !== undefined) this.#outstanding.shift();
    if (error === undefined) {
      first.reply({ parameters, continues, fds });
    } else {
      closeAll(fds);
      first.fail(fromErrorReply(error, parameters));
    }
  }

  #fail(error: Error): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#reader[Symbol.dispose]();
    this.#socket[Symbol.dispose]();
    for (const outstanding of this.#outstanding.splice(0)) outstanding.fail(error);
    this.#closed.abort(error);
  }

  #setPaused(paused: boolean): void {
    if (this.closed.aborted) return;
    if (paused) this.#socket.pause();
    else this.#socket.resume();
  }

  #deadline(
    method: string,
    { deadlineMs }: CallOptions,
    expire: (error: LessorError) => void,
  ): { readonly passed: boolean } & Disposable {
    if (deadlineMs === undefined) return { passed: false, [Symbol.dispose]: () => {} };
    let passed = false;
    const timer = this.#clock.after(deadlineMs, () => {
      passed = true;
      expire(new LessorError('DEADLINE_EXCEEDED', `${method} got no answer in ${deadlineMs} ms`));
    });
    return {
      get passed() {
        return passed;
      },
      [Symbol.dispose]: () => timer[Symbol.dispose](),
    };
  }
}

function gone(error: Error | undefined): LessorError {
  const cause = error === undefined ? {} : { cause: error };
  const detail = error === undefined ? 'the broker closed the connection' : error.message;
  return new LessorError('BROKER_GONE', detail, cause);
}
