// The server's side of one connection: negotiation, one request at a time in order of arrival,
// back-pressure, the fence, the end. What a command does is in commands.ts.
import type { Clock } from '../base/clock.js';
import type { Errno } from '../base/errno.js';
import { errnoOf, isOsError, LessorError, OsError, ProtocolError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { closeAll } from '../os/fd.js';
import type { SocketOs, StreamOptions, StreamSocket } from '../os/socket-types.js';
import {
  VFIO_USER_DEVICE_SET_IRQS,
  VFIO_USER_DMA_MAP,
  VFIO_USER_F_NO_REPLY,
  VFIO_USER_MIG_DATA_WRITE,
  VFIO_USER_VERSION,
  versionHeader,
} from '../uapi/vfio-user.js';
import { execute } from './commands.js';
import type { CommandContext } from './context.js';
import { MessageMemory } from './dma/client-memory.js';
import { takenAwayBy } from './dma/taken-away.js';
import type { VfioUserEndpoint } from './endpoint.js';
import { errorFrame, type Header, headerBytes, type Message } from './framing.js';
import { Link } from './link.js';
import { MigrationSession } from './migration/session.js';
import { type Reply, replyFrame } from './reply.js';
import { openTwin, type TwinSockets } from './twin-socket.js';
import {
  answerVersion,
  type Capabilities,
  decodeVersion,
  encodeVersion,
  ownCapabilities,
  type Version,
} from './version.js';

export interface VfioUserServerOptions {
  readonly clock: Clock;
  /** For clients that are not trusted: how their descriptors are received. */
  readonly screen?: NonNullable<StreamOptions['screen']>;
  readonly capabilities?: Partial<Capabilities>;
  /** Present: a client that asks for it gets our commands over a socket of their own. */
  readonly twinSocket?: Pick<SocketOs, 'pair' | 'stream'>;
  /** Time for the client to answer one DMA message. Default `limits.vfioUserDmaDeadlineMs`. */
  readonly dmaDeadlineMs?: number;
  /**
   * Told of an error that the endpoint should not have thrown, after the connection was closed.
   * Absent: it is thrown on, to end the process.
   */
  readonly onBug?: (error: unknown) => void;
}

export interface VfioUserConnection {
  readonly isOpen: boolean;
  /** What the client said of itself; undefined before VERSION. */
  readonly peer: Capabilities | undefined;
  /** Requests that wait for their handler, the running one included. */
  readonly pendingCount: number;
  /**
   * Answers `errno` to everything from now on, waiting requests included. The endpoint is not
   * called any more, except `closed`; what a handler that is running returns is dropped.
   */
  fence(errno: Errno): void;
  /** Closes at once; `endpoint.closed` is called before this returns. */
  close(): void;
}

const largestVersionBytes = headerBytes + versionHeader.sizeBytes + limits.vfioUserVersionBytesMax;

/** Commands that a descriptor may come with; unknown ones are answered, not judged. */
function mayCarryFds(command: number): boolean {
  if (command === VFIO_USER_DMA_MAP || command === VFIO_USER_DEVICE_SET_IRQS) return true;
  return command < VFIO_USER_VERSION || command > VFIO_USER_MIG_DATA_WRITE;
}

/** A request until its handler runs. */
interface Waiting {
  readonly message: Message;
  /** Allows messages to the memory again that the request takes away. */
  readonly giveBack: (() => void) | undefined;
}

class Connection implements VfioUserConnection {
  readonly #endpoint: VfioUserEndpoint;
  readonly #options: VfioUserServerOptions;
  readonly #own: Capabilities;
  readonly #link: Link;
  #peer: Capabilities | undefined;
  #context: CommandContext | undefined;
  /** For our own commands, when the client has asked for it. */
  #twin: Link | undefined;
  #memory: MessageMemory | undefined;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #waitingFds = 0;
  /** The request that is running; undefined again once the fence answered it. */
  #current: Header | undefined;
  #giveBack: (() => void) | undefined;
  #isRunning = false;
  #isPaused = false;
  #fenced: Errno | undefined;

  constructor(socket: StreamSocket, endpoint: VfioUserEndpoint, options: VfioUserServerOptions) {
    this.#endpoint = endpoint;
    this.#options = options;
    const migrates = endpoint.migration !== undefined || endpoint.dirtyPages !== undefined;
    this.#own = {
      ...ownCapabilities,
      ...(migrates ? {} : { migration: undefined }),
      twinSocket: options.twinSocket !== undefined,
      ...options.capabilities,
    };
    const handler = {
      commandsTakeFds: true,
      commandHeader: (header: Header, fdCount: number) => this.#onHeader(header, fdCount),
      command: (message: Message) => this.#onCommand(message),
      ended: (error: Error | undefined) => this.#onEnded(error),
      drained: () => this.#onDrained(),
    };
    this.#link = new Link(socket, handler, options.clock);
  }

  start(): void {
    this.#link.start(this.#options.screen);
  }

  get isOpen(): boolean {
    return this.#link.isOpen;
  }

  get peer(): Capabilities | undefined {
    return this.#peer;
  }

  get pendingCount(): number {
    return this.#waiting.length + (this.#isRunning ? 1 : 0);
  }

  fence(errno: Errno): void {
    if (!this.isOpen || this.#fenced !== undefined) return;
    this.#fenced = errno;
    this.#memory?.close();
    const current = this.#current;
    this.#current = undefined;
    if (current !== undefined) this.#answerError(current, errno);
    for (const { message } of this.#takeWaiting()) {
      closeAll(message.fds);
      this.#answerError(message.header, errno);
    }
    this.#pace();
  }

  close(): void {
    if (!this.isOpen) return;
    this.#link.close(new OsError('ECANCELED', 'vfio-user', 'closed here'));
    this.#onEnded(undefined);
  }

  #onHeader(header: Header, fdCount: number): void {
    const { command, messageSize } = header;
    if (this.#peer !== undefined) {
      if (fdCount === 0 || mayCarryFds(command)) return;
      throw new LessorError('FD_UNEXPECTED', `descriptors came with command ${command}`);
    }
    if (command !== VFIO_USER_VERSION) {
      const detail = `the first message is command ${command}, not VERSION`;
      throw new ProtocolError('vfio_user_header.command', 2, detail);
    }
    if (fdCount > 0) {
      this.#refuseVersion(
        header,
        new LessorError('FD_UNEXPECTED', 'descriptors came with VERSION'),
      );
    }
    if (messageSize > largestVersionBytes) {
      const detail = `VERSION of ${messageSize} bytes is over ${largestVersionBytes}`;
      this.#refuseVersion(header, new LessorError('FRAME_TOO_LARGE', detail));
    }
  }

  #onCommand(message: Message): void {
    if (this.#fenced !== undefined) {
      closeAll(message.fds);
      this.#answerError(message.header, this.#fenced);
    } else if (this.#context === undefined) {
      this.#negotiate(message);
    } else {
      this.#arrived(this.#context, message);
    }
  }

  /** What takes memory away does so now, for the running handler may be waiting for it. */
  #arrived(context: CommandContext, message: Message): void {
    const range = takenAwayBy(message);
    const giveBack = range === undefined ? undefined : this.#memory?.takeAway(range);
    if (this.#isRunning || this.#waiting.length > 0 || this.#link.isCongested) {
      this.#waiting.push({ message, giveBack });
      this.#waitingBytes += message.payload.length;
      this.#waitingFds += message.fds.length;
    } else {
      this.#run(context, { message, giveBack });
    }
    this.#pace();
  }

  #negotiate({ header, payload }: Message): void {
    let proposed: Version;
    let answer: Version;
    try {
      if (header.flags !== 0 || header.errno !== 0) {
        throw new ProtocolError('vfio_user_header.flags', 8, 'unknown bits in VERSION');
      }
      proposed = decodeVersion(payload);
      answer = answerVersion(proposed, this.#own);
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      this.#refuseVersion(header, error as Error);
    }
    const { sockets, capabilities } = this.#twinFor(answer.capabilities);
    const { jsonBytes: jsonBytesMax = 0 } = proposed;
    const limit = jsonBytesMax === 0 ? {} : { jsonBytesMax };
    const twin = sockets === undefined ? {} : { twinFdIndex: 0 };
    const head = encodeVersion(answer.minor, capabilities, { ...limit, ...twin });
    this.#peer = proposed.capabilities;
    const isLive = (): boolean => this.isOpen && this.#fenced === undefined;
    this.#context = {
      endpoint: this.#endpoint,
      peer: proposed.capabilities,
      agreed: capabilities,
      migration: new MigrationSession(this.#endpoint.migration),
      isLive,
    };
    this.#answer(header, sockets === undefined ? { head } : { head, fds: [sockets.theirs] });
    this.#opened(proposed.capabilities, sockets?.ours);
  }

  /** The pair of a twin socket, when both want one and the system has it. */
  #twinFor(capabilities: Capabilities): {
    readonly capabilities: Capabilities;
    readonly sockets?: TwinSockets;
  } {
    const { twinSocket } = this.#options;
    if (!capabilities.twinSocket || twinSocket === undefined) {
      return { capabilities: { ...capabilities, twinSocket: false } };
    }
    try {
      return { capabilities, sockets: openTwin(twinSocket) };
    } catch (error) {
      if (!isOsError(error)) throw error;
      return { capabilities: { ...capabilities, twinSocket: false } };
    }
  }

  #opened({ maxDataXferBytes }: Capabilities, twin: StreamSocket | undefined): void {
    if (twin !== undefined) this.#startTwin(twin);
    this.#memory = new MessageMemory(this.#twin ?? this.#link, {
      dataBytesMax: Math.min(limits.vfioUserDataBytesMax, maxDataXferBytes),
      deadlineMs: this.#options.dmaDeadlineMs ?? limits.vfioUserDmaDeadlineMs,
      onBusy: () => this.#pace(),
    });
    try {
      this.#endpoint.opened?.(this.#memory);
    } catch (error) {
      this.#bug(error);
    }
  }

  /** Nothing but replies comes there. Its end takes the client's memory away, no more. */
  #startTwin(socket: StreamSocket): void {
    const twin = new Link(
      socket,
      {
        commandsTakeFds: false,
        commandHeader: ({ command }) => {
          const detail = `command ${command} came on the twin socket`;
          throw new ProtocolError('vfio_user_header.command', 2, detail);
        },
        command() {},
        ended: (error) => {
          this.#memory?.close();
          if (error !== undefined) this.#link.fail(error);
        },
      },
      this.#options.clock,
    );
    this.#twin = twin;
    twin.start(undefined);
  }

  /** Answers, then closes. Throws, so that the reader goes no further. */
  #refuseVersion(header: Header, error: Error): never {
    this.#answerError(header, 'EINVAL');
    this.#link.fail(error, true);
    throw error;
  }

  /** Runs a request; while its handler takes time, further ones wait. */
  #run(context: CommandContext, { message, giveBack }: Waiting): void {
    this.#current = message.header;
    this.#giveBack = giveBack;
    this.#isRunning = true;
    let result: Reply | Promise<Reply>;
    try {
      result = execute(context, message);
    } catch (error) {
      this.#failed(error);
      return;
    }
    if (!(result instanceof Promise)) {
      this.#succeeded(result);
      return;
    }
    void result
      .then(
        (reply) => this.#succeeded(reply),
        (error) => this.#failed(error),
      )
      .then(() => this.#runWaiting(context));
  }

  /** Runs what waits, unless the client leaves too many replies unread. */
  #runWaiting(context: CommandContext): void {
    while (!this.#isRunning && this.#waiting.length > 0 && !this.#link.isCongested) {
      const next = this.#waiting.shift() as Waiting;
      this.#waitingBytes -= next.message.payload.length;
      this.#waitingFds -= next.message.fds.length;
      this.#run(context, next);
    }
    this.#pace();
  }

  #onDrained(): void {
    if (this.#context !== undefined) this.#runWaiting(this.#context);
  }

  /** The request that just ran, unless the fence has answered it or nobody listens any more. */
  #finish(): Header | undefined {
    const request = this.#current;
    this.#current = undefined;
    this.#isRunning = false;
    this.#giveBack?.();
    return this.isOpen ? request : undefined;
  }

  #succeeded(reply: Reply): void {
    const request = this.#finish();
    if (request === undefined) closeAll(reply.fds ?? []);
    else this.#answer(request, reply);
  }

  #failed(error: unknown): void {
    const request = this.#finish();
    const errno = errnoOf(error);
    if (errno === undefined) this.#bug(error);
    else if (request !== undefined) this.#answerError(request, errno);
  }

  #answer(request: Header, reply: Reply): void {
    if ((request.flags & VFIO_USER_F_NO_REPLY) !== 0) {
      closeAll(reply.fds ?? []);
      return;
    }
    this.#link.send(replyFrame(request, reply), reply.fds);
  }

  #answerError(request: Header, errno: Errno): void {
    if ((request.flags & VFIO_USER_F_NO_REPLY) !== 0) return;
    this.#link.send(errorFrame(request, errno));
  }

  #bug(error: unknown): void {
    const known = error instanceof Error ? error : new OsError('EIO', 'vfio-user', String(error));
    this.#link.fail(known);
    if (this.#options.onBug === undefined) throw error;
    this.#options.onBug(error);
  }

  /** Reads on, or leaves further requests in the socket while too many wait. */
  #pace(): void {
    if (!this.isOpen) return;
    const isFull = this.#isFull();
    if (isFull === this.#isPaused) return;
    this.#isPaused = isFull;
    if (isFull) this.#link.pause();
    else this.#link.resume();
  }

  /** The answer to a DMA message stands behind what waits: more of it is read meanwhile. */
  #isFull(): boolean {
    const isBusy = this.#twin === undefined && this.#memory?.isBusy === true;
    const countMax = isBusy ? limits.vfioUserPendingDuringDmaMax : limits.vfioUserPendingMax;
    const bytesMax = isBusy
      ? limits.vfioUserPendingBytesDuringDmaMax
      : limits.vfioUserPendingBytesMax;
    return (
      this.pendingCount >= countMax ||
      this.#waitingBytes >= bytesMax ||
      this.#waitingFds >= limits.vfioUserPendingFdsMax
    );
  }

  #takeWaiting(): Waiting[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#waitingFds = 0;
    return waiting;
  }

  #onEnded(error: Error | undefined): void {
    for (const { message } of this.#takeWaiting()) closeAll(message.fds);
    this.#memory?.close();
    this.#twin?.close(new OsError('ECANCELED', 'vfio-user', 'the connection is over'));
    this.#current = undefined;
    this.#endpoint.closed(error);
  }
}

/**
 * Serves `endpoint` on a connected socket, until the client or `close` ends it.
 *
 * @param socket - Not yet started; its ownership passes.
 */
export function serveVfioUser(
  socket: StreamSocket,
  endpoint: VfioUserEndpoint,
  options: VfioUserServerOptions,
): VfioUserConnection {
  const connection = new Connection(socket, endpoint, options);
  connection.start();
  return connection;
}
