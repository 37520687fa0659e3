// The service's end of one connection: calls in, replies out, one call at a time, in order.
import {
  AssertionFailure,
  assert,
  type ErrorCode,
  isProtocolError,
  LessorError,
  type ProtocolError,
} from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import { closeAll, type Fd } from '../os/fd.js';
import type {
  PeerCredentials,
  StreamHandler,
  StreamOptions,
  StreamSocket,
} from '../os/socket-types.js';
import { Call, type CallOwner, type VarlinkHandler } from './call.js';
import { StandardError, toErrorReply } from './errors.js';
import { encodeFrame, type Frame, FrameReader } from './frames.js';
import type { IdlInterface, IdlMethod } from './idl.js';
import type { JsonValue } from './json.js';
import { type CallMessage, decodeCall } from './messages.js';
import { UpgradedSocket } from './upgraded-socket.js';
import { decodeParameters } from './values.js';

/** Time for a peer to take the last words of a connection that it broke. */
const lastWordsMs = 1000;

export interface Target {
  readonly idl: IdlInterface;
  readonly method: IdlMethod;
  readonly handle: VarlinkHandler<never>;
  readonly fdsMax: number;
  /** It can turn the connection into another protocol's. */
  readonly upgrades: boolean;
}

export interface ConnectionTerms {
  readonly credentials: PeerCredentials;
  readonly stream: StreamOptions;
  /** Descriptors with one message. */
  readonly fdsMax: number;
  readonly log: Logger;
  /** Namespace of errors that belong to no method. */
  readonly errorInterface: string;
  /** @throws StandardError when there is no such method. */
  find(method: string): Target;
  /** A handler failed with something that is no expected error. */
  onBug(error: unknown): void;
  onClosed(): void;
}

interface Pending {
  readonly message: CallMessage;
  readonly frame: Frame;
}

export class Connection implements CallOwner, Disposable {
  readonly #socket: StreamSocket;
  readonly #terms: ConnectionTerms;
  readonly #reader: FrameReader;
  readonly #closed = new AbortController();
  /** Calls that wait for an answer; the first one is being answered. */
  #pending: Pending[] = [];
  /** What came after a call for an upgrade that waits for its answer: whose it is, that decides. */
  #early: Uint8Array | undefined;
  #upgraded: UpgradedSocket | undefined;

  /** Takes ownership of the socket. */
  constructor(socket: StreamSocket, terms: ConnectionTerms) {
    this.#socket = socket;
    this.#terms = terms;
    this.#reader = new FrameReader({
      messageBytesMax: limits.varlinkMessageBytesMax,
      fdsMax: terms.fdsMax,
    });
  }

  start(): void {
    const handler: StreamHandler = {
      wantBytes: () => this.#upgraded?.wantBytes() ?? limits.varlinkMessageBytesMax,
      data: (bytes, fds, refusedCount) => (this.#upgraded ?? this).data(bytes, fds, refusedCount),
      end: (error) => (this.#upgraded ?? this).finished(error),
    };
    this.#socket.start(handler, this.#terms.stream);
  }

  get credentials(): PeerCredentials {
    return this.#terms.credentials;
  }

  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  get queuedBytes(): number {
    return this.#socket.queuedBytes;
  }

  peerPidfd(): Fd {
    return this.#socket.peerPidfd();
  }

  send(bytes: Uint8Array, fds: readonly Fd[]): void {
    this.#socket.send(bytes, fds);
  }

  handOver(bytes: Uint8Array): StreamSocket | undefined {
    if (this.closed.aborted) return undefined;
    this.#socket.send(bytes);
    const { fdsMax } = this.#terms.stream;
    const early = this.#early ?? new Uint8Array(0);
    this.#upgraded = new UpgradedSocket(this.#socket, fdsMax, early);
    this.#release();
    return this.#upgraded;
  }

  [Symbol.dispose](): void {
    this.#release();
    this.#socket[Symbol.dispose]();
  }

  /** What the socket delivers, unless it was handed over. */
  data(bytes: Uint8Array, fds: Fd[], refusedCount: number): void {
    if (this.closed.aborted) {
      closeAll(fds);
      return;
    }
    if (this.#early !== undefined) {
      const fdCount = fds.length + refusedCount;
      closeAll(fds);
      this.#keep(this.#early, bytes, fdCount);
      return;
    }
    try {
      const rest = this.#reader.feed(bytes, fds, refusedCount, (frame) => this.#receive(frame));
      if (this.#early !== undefined) this.#keep(this.#early, rest, 0);
    } catch (error) {
      if (!isProtocolError(error)) throw error;
      this.#break(codeOfBrokenFrame(error), error.message);
    }
  }

  /** The socket is over, and was not handed over. */
  finished(error: Error | undefined): void {
    this.#end(error);
  }

  /** Whose descriptors would be is not known before the answer: nobody may send any. */
  #keep(early: Uint8Array, bytes: Uint8Array, fdCount: number): void {
    if (fdCount > 0 || this.#reader.hasPassengers) {
      this.#break('FD_UNEXPECTED', 'descriptors came before the answer to an upgrade');
    } else if (early.length + bytes.length > limits.upgradeEarlyBytesMax) {
      this.#break('FRAME_TOO_LARGE', 'too many bytes came before the answer to an upgrade');
    } else {
      this.#early = Buffer.concat([early, bytes]);
    }
  }

  #receive(frame: Frame): void {
    if (this.#pending.length >= limits.varlinkPendingMax) {
      closeAll(frame.fds);
      this.#break('QUOTA_EXCEEDED', `${limits.varlinkPendingMax} calls wait for an answer`);
      return;
    }
    let message: CallMessage;
    try {
      message = decodeCall(frame.text);
    } catch (error) {
      closeAll(frame.fds);
      throw error;
    }
    this.#pending.push({ message, frame });
    if (message.upgrade) {
      this.#reader.hold();
      this.#early = new Uint8Array(0);
    }
    if (this.#pending.length > 1) return;
    // In a later turn: what came along with a call for an upgrade is kept by then.
    if (message.upgrade) queueMicrotask(() => void this.#answerUnlessClosed(frame));
    else void this.#answerAll();
  }

  async #answerUnlessClosed({ fds }: Frame): Promise<void> {
    if (this.closed.aborted) closeAll(fds);
    else await this.#answerAll();
  }

  async #answerAll(): Promise<void> {
    for (let next = this.#pending[0]; next; next = this.#pending[0]) {
      await this.#answer(next);
      this.#pending.shift();
      if (next.message.upgrade) this.#resumeVarlink();
    }
  }

  /** A call for an upgrade was refused: what came after it is Varlink like anything else. */
  #resumeVarlink(): void {
    const early = this.#early;
    this.#early = undefined;
    if (early !== undefined && early.length > 0) this.data(early, [], 0);
  }

  async #answer({ message, frame }: Pending): Promise<void> {
    let target: Target | undefined;
    const call = new Call(this, {
      ...message,
      fds: frame.fds,
      encode: (parameters, continues) => encodeReply(message, target, parameters, continues),
    });
    try {
      target = this.#terms.find(message.method);
      if (frame.fds.length + frame.refusedCount > target.fdsMax) {
        this.#break('FD_UNEXPECTED', `${message.method} takes ${target.fdsMax} descriptors`);
        return;
      }
      const result = await this.#handle(target, message, frame, call);
      if (!call.finished) call.reply(result ?? {});
      else assert(result === undefined, `${message.method} was answered already`);
    } catch (error) {
      this.#fail(error, target, call.finished || message.oneway);
    } finally {
      call[Symbol.dispose]();
    }
  }

  async #handle(
    target: Target,
    message: CallMessage,
    frame: Frame,
    call: Call,
  ): Promise<object | undefined> {
    if (message.upgrade && !target.upgrades) {
      throw new StandardError('MethodNotImplemented', { method: message.method });
    }
    if (frame.refusedCount > 0) {
      throw new LessorError('FD_REFUSED', 'a descriptor is neither memory nor an eventfd');
    }
    const { idl, method, handle } = target;
    const parameters = decodeParameters(idl, method.input, message.parameters, 'strict');
    return await handle(parameters as never, call);
  }

  /** Answers an expected error; anything else is a bug, of which the peer learns nothing. */
  #fail(error: unknown, target: Target | undefined, silent: boolean): void {
    const reply = toErrorReply(target?.idl.name ?? this.#terms.errorInterface, error);
    if (reply === undefined) {
      this[Symbol.dispose]();
      this.#terms.onBug(error);
    } else if (!silent && !this.closed.aborted) {
      this.#socket.send(encodeFrame(reply));
    }
  }

  /** Ends a connection whose peer broke the protocol; what it asked before gets no answer. */
  #break(code: ErrorCode, detail: string): void {
    if (this.closed.aborted) return;
    const { pid, uid } = this.credentials;
    this.#terms.log.warn('a control connection broke the protocol', { pid, uid, code, detail });
    const reply = toErrorReply(this.#terms.errorInterface, new LessorError(code, detail));
    this.#socket.send(encodeFrame(reply!));
    this.#socket.end(lastWordsMs);
    this.#release();
  }

  #end(error: Error | undefined): void {
    if (error !== undefined && !this.closed.aborted) {
      const { pid, uid } = this.credentials;
      this.#terms.log.info('a control connection ended', { pid, uid, error: error.message });
    }
    this.#release();
  }

  #release(): void {
    if (this.closed.aborted) return;
    this.#reader[Symbol.dispose]();
    // The first one is with its handler, which closes what it does not take.
    for (const { frame } of this.#pending.splice(1)) closeAll(frame.fds);
    this.#closed.abort();
    this.#terms.onClosed();
  }
}

function codeOfBrokenFrame(error: ProtocolError): ErrorCode {
  if (error.errno === 'EMSGSIZE') return 'FRAME_TOO_LARGE';
  return error.field === 'fds' ? 'FD_UNEXPECTED' : 'FRAME_MALFORMED';
}

/** Replies are ours: one that breaks our own description is a bug. */
function encodeReply(
  message: CallMessage,
  target: Target | undefined,
  parameters: object,
  continues: boolean,
): Uint8Array {
  assert(target !== undefined, 'a reply without a method');
  let checked: object;
  try {
    checked = decodeParameters(target.idl, target.method.output, parameters as JsonValue, 'strict');
  } catch (error) {
    if (!(error instanceof StandardError)) throw error;
    throw new AssertionFailure(`${message.method} answered ${error.message}`);
  }
  const bytes = encodeFrame({ parameters: checked, ...(continues ? { continues } : {}) });
  if (bytes.length > limits.varlinkReplyBytesMax) {
    throw new LessorError('FRAME_TOO_LARGE', `the answer has ${bytes.length} bytes`);
  }
  return bytes;
}
