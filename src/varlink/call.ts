// One call of a method, as its handler sees it.
import { assert, LessorError } from '../base/errors.js';
import { closeAll, type Fd } from '../os/fd.js';
import type { PeerCredentials, StreamSocket } from '../os/socket-types.js';
import { expectedMore } from './errors.js';

export interface ReplyOptions {
  /** More replies follow. Only for calls with `more`. */
  readonly continues?: boolean;
  /** Go with the reply, named by their index; ownership passes in every outcome. */
  readonly fds?: readonly Fd[];
}

export interface VarlinkCall {
  /** Full name of the method. */
  readonly method: string;
  /** The client takes several replies. */
  readonly more: boolean;
  /** The client asks that the connection speak another protocol after the reply. */
  readonly upgrade: boolean;
  /** Who connected, as of then. */
  readonly credentials: PeerCredentials;
  /** Aborted when the connection is over; the handler should finish then. */
  readonly closed: AbortSignal;
  /** Bytes that the client has not taken yet. */
  readonly queuedBytes: number;
  /** A pidfd of the process that connected. The caller owns it. @throws OsError */
  peerPidfd(): Fd;
  /** @throws StandardError `ExpectedMore` unless the call has `more`. */
  requireMore(): void;
  /**
   * A descriptor that came with the call; the caller owns it. What nobody takes is closed when
   * the handler has finished.
   *
   * @throws LessorError `FD_REFUSED` when there is none (any more) at this index.
   */
  takeFd(index: number): Fd;
  /**
   * Sends a reply; without `continues` the last one. On a connection that is over, or for a call
   * that wants no reply, it only closes the descriptors.
   *
   * @throws LessorError `FRAME_TOO_LARGE` over limits.varlinkReplyBytesMax.
   */
  reply(parameters: object, options?: ReplyOptions): void;
  /**
   * Sends the last reply of a call with `upgrade` and hands the connection over. Not started; bytes
   * that the client sent already come first. Undefined when the connection is over.
   *
   * @throws LessorError `FRAME_TOO_LARGE`, as `reply`.
   */
  handOver(parameters: object): StreamSocket | undefined;
}

/**
 * Answers calls of one method. What it returns is the last reply, unless that was sent already.
 * An expected error becomes an error reply, also after replies that said `continues`.
 *
 * @param parameters - Checked against the description, and a copy.
 */
export type VarlinkHandler<Parameters> = (
  parameters: Parameters,
  call: VarlinkCall,
) => Promise<object | undefined> | object | undefined;

/** What a call needs of its connection. */
export interface CallOwner {
  readonly credentials: PeerCredentials;
  readonly closed: AbortSignal;
  readonly queuedBytes: number;
  peerPidfd(): Fd;
  /** Takes ownership of `fds`. */
  send(bytes: Uint8Array, fds: readonly Fd[]): void;
  /** Sends, and gives the socket away. */
  handOver(bytes: Uint8Array): StreamSocket | undefined;
}

export interface CallTerms {
  readonly method: string;
  readonly more: boolean;
  readonly oneway: boolean;
  readonly upgrade: boolean;
  /** The call owns them. */
  readonly fds: readonly Fd[];
  /** Checks a reply and puts it in bytes. */
  encode(parameters: object, continues: boolean): Uint8Array;
}

export class Call implements VarlinkCall, Disposable {
  readonly #owner: CallOwner;
  readonly #terms: CallTerms;
  readonly #fds: (Fd | undefined)[];
  #finished = false;

  constructor(owner: CallOwner, terms: CallTerms) {
    this.#owner = owner;
    this.#terms = terms;
    this.#fds = [...terms.fds];
  }

  get method(): string {
    return this.#terms.method;
  }

  get more(): boolean {
    return this.#terms.more;
  }

  get upgrade(): boolean {
    return this.#terms.upgrade;
  }

  get credentials(): PeerCredentials {
    return this.#owner.credentials;
  }

  get closed(): AbortSignal {
    return this.#owner.closed;
  }

  get queuedBytes(): number {
    return this.#owner.queuedBytes;
  }

  /** The last reply was sent. */
  get finished(): boolean {
    return this.#finished;
  }

  peerPidfd(): Fd {
    return this.#owner.peerPidfd();
  }

  requireMore(): void {
    if (!this.more) throw expectedMore();
  }

  takeFd(index: number): Fd {
    const fd = this.#fds[index];
    if (fd === undefined) {
      throw new LessorError('FD_REFUSED', `no descriptor came at index ${index}`);
    }
    this.#fds[index] = undefined;
    return fd;
  }

  reply(parameters: object, options: ReplyOptions = {}): void {
    const { continues = false, fds = [] } = options;
    let bytes: Uint8Array;
    try {
      assert(!this.#finished, `${this.method} was answered already`);
      assert(!continues || this.more, `${this.method} was not asked for more`);
      bytes = this.#terms.encode(parameters, continues);
    } catch (error) {
      closeAll(fds);
      throw error;
    }
    this.#finished = !continues;
    if (this.#terms.oneway || this.closed.aborted) closeAll(fds);
    else this.#owner.send(bytes, fds);
  }

  handOver(parameters: object): StreamSocket | undefined {
    assert(this.upgrade && !this.#finished, `${this.method} was not asked to upgrade`);
    const bytes = this.#terms.encode(parameters, false);
    this.#finished = true;
    return this.#owner.handOver(bytes);
  }

  /** Closes what nobody took. */
  [Symbol.dispose](): void {
    for (const fd of this.#fds) fd?.close();
  }
}
