// The client's end of a connection: negotiation, requests and their replies, the end. What the
// server answers is judged like any input from outside; nonsense closes the connection.
import type { Clock } from '../base/clock.js';
import { assert, LessorError, OsError, ProtocolError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { Listeners } from '../base/listeners.js';
import { closeAll, type Fd } from '../os/fd.js';
import type { SocketOs, StreamOptions, StreamSocket } from '../os/socket-types.js';
import {
  VFIO_USER_F_TYPE_COMMAND,
  VFIO_USER_MINOR,
  VFIO_USER_VERSION,
  versionHeader,
} from '../uapi/vfio-user.js';
import type { DmaHandler } from './dma/handler.js';
import { DmaService } from './dma/service.js';
import { frame, headerBytes, type Message } from './framing.js';
import { Link } from './link.js';
import { takeTwin } from './twin-socket.js';
import { type Capabilities, decodeVersion, encodeVersion, ownCapabilities } from './version.js';

export interface VfioUserClientOptions {
  readonly clock: Clock;
  /** Time for one reply. Default 5 s. */
  readonly deadlineMs?: number;
  readonly capabilities?: Partial<Capabilities>;
  /** Present: the server is asked to send its commands over a socket of their own. */
  readonly twinSocket?: Pick<SocketOs, 'stream'>;
  /** Serves memory by message. Absent: the server cannot reach what was mapped without fd. */
  readonly dma?: DmaHandler;
  /** For servers that are not trusted: how their descriptors are received. */
  readonly screen?: NonNullable<StreamOptions['screen']>;
  /** Gives up the negotiation; later it means nothing. */
  readonly signal?: AbortSignal;
}

const deadlineMsDefault = 5000;

/** What a request sends besides its payload, and what comes back at most. */
export interface CallTerms {
  /** Bytes of payload in the reply. Default 0. */
  readonly replyBytesMax?: number;
  /** Descriptors that come with it. Default 0. */
  readonly replyFdsMax?: number;
  readonly fds?: readonly Fd[];
  readonly deadlineMs?: number;
}

function closedHere(): OsError {
  return new OsError('ECANCELED', 'vfio-user', 'closed here');
}

export class Requester {
  readonly deadlineMs: number;
  readonly #options: VfioUserClientOptions;
  readonly #service: DmaService;
  #twin: Link | undefined;
  readonly #link: Link;
  readonly #own: Capabilities;
  readonly #closed = new Listeners<Error | undefined>();
  #peer: Capabilities = ownCapabilities;

  constructor(socket: StreamSocket, options: VfioUserClientOptions) {
    this.deadlineMs = options.deadlineMs ?? deadlineMsDefault;
    this.#options = options;
    const twinSocket = options.twinSocket !== undefined;
    this.#own = { ...ownCapabilities, ...options.capabilities, twinSocket };
    const service = new DmaService({
      handler: options.dma,
      dataBytesMax: this.#own.maxDataXferBytes,
      onBug: (error) => this.#link.fail(error),
    });
    this.#service = service;
    const handler = {
      commandsTakeFds: false,
      commandHeader() {},
      command: (message: Message) => service.command(message, this.#link),
      ended: (error: Error | undefined) => {
        this.#twin?.close(closedHere());
        this.#closed.emit(error);
      },
    };
    this.#link = new Link(socket, handler, options.clock);
    this.#link.start(options.screen, Math.min(limits.vfioUserFdsMax, this.#own.maxMsgFds));
  }

  get isOpen(): boolean {
    return this.#link.isOpen;
  }

  get peer(): Capabilities {
    return this.#peer;
  }

  /** Data bytes that both sides take in one message. */
  get dataBytesMax(): number {
    return Math.min(
      limits.vfioUserDataBytesMax,
      this.#own.maxDataXferBytes,
      this.#peer.maxDataXferBytes,
    );
  }

  /** Descriptors that the server takes with one message. */
  get fdsMax(): number {
    return Math.min(limits.vfioUserFdsMax, this.#peer.maxMsgFds);
  }

  onClosed(listener: (error: Error | undefined) => void): Disposable {
    return this.#closed.add(listener);
  }

  close(): void {
    this.#twin?.close(closedHere());
    this.#link.close(closedHere());
  }

  async negotiate(deadlineMs: number): Promise<void> {
    const replyBytesMax = versionHeader.sizeBytes + limits.vfioUserVersionBytesMax;
    const ask = encodeVersion(VFIO_USER_MINOR, this.#own);
    const replyFdsMax = this.#own.twinSocket ? limits.vfioUserFdsMax : 0;
    const terms = { replyBytesMax, replyFdsMax, deadlineMs };
    await this.call(VFIO_USER_VERSION, ask, terms, ({ payload, fds }) => {
      const version = decodeVersion(payload);
      const { minor } = version;
      if (minor > VFIO_USER_MINOR) {
        throw new ProtocolError('vfio_user_version.minor', 2, `${minor} was not proposed`);
      }
      const twin = takeTwin(version, fds, this.#own.twinSocket);
      if (twin !== undefined) this.#startTwin(twin);
      this.#peer = version.capabilities;
    });
  }

  /** Nothing but commands of the server comes there. */
  #startTwin(fd: Fd): void {
    const { twinSocket, clock } = this.#options;
    assert(twinSocket !== undefined, 'a twin socket was not asked for');
    const twin = new Link(
      twinSocket.stream(fd),
      {
        commandsTakeFds: false,
        commandHeader() {},
        command: (message) => this.#service.command(message, twin),
        ended: (error) => {
          if (error !== undefined) this.#link.fail(error);
        },
      },
      clock,
    );
    this.#twin = twin;
    twin.start(undefined);
  }

  /** Sends a payload. `read` owns the reply's descriptors; an error of it closes the connection. */
  call<T>(
    command: number,
    payload: Uint8Array,
    terms: CallTerms,
    read: (reply: Message) => T,
  ): Promise<T> {
    const bytes = frame(0, command, VFIO_USER_F_TYPE_COMMAND, payload.length);
    bytes.set(payload, headerBytes);
    return this.send(command, bytes, terms, read);
  }

  /** As `call`, with a frame that is already built. */
  send<T>(
    command: number,
    bytes: Uint8Array,
    terms: CallTerms,
    read: (reply: Message) => T,
  ): Promise<T> {
    const { fds } = terms;
    if (fds !== undefined && fds.length > this.fdsMax) {
      closeAll(fds);
      const detail = `the server takes ${this.fdsMax} descriptors with a message`;
      return Promise.reject(new LessorError('UNSUPPORTED', detail));
    }
    const expected = {
      payloadBytesMax: terms.replyBytesMax ?? 0,
      fdsMax: terms.replyFdsMax ?? 0,
      deadlineMs: terms.deadlineMs ?? this.deadlineMs,
    };
    return this.#link.request(bytes, command, fds, expected, read);
  }

  /** Sends a frame whose flags say that no reply comes. */
  post(bytes: Uint8Array): void {
    this.#link.send(bytes);
  }

  flush(): void {
    this.#link.flush();
  }
}
