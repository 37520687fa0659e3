// One helper process and the stream to it. Knows one request at a time, no limits, no deadlines.
import { type ChildProcess, spawn } from 'node:child_process';
import type { Clock } from '../../base/clock.js';
import { assert } from '../../base/errors.js';
import type { Fd } from '../fd.js';
import { receiveReport } from '../native-sockets.js';
import type { StreamHandler } from '../socket-types.js';
import { OsSockets } from '../sockets.js';
import { OsStreamSocket, type StreamCalls } from '../stream-socket.js';
import {
  decodeReplyHeader,
  encodeRequest,
  type HelperRequest,
  type ReplyHeader,
  replyHeaderBytes,
} from './protocol.js';

export interface HelperReply {
  readonly header: ReplyHeader;
  readonly bytes: Uint8Array;
  /** The receiver owns them. */
  readonly fds: Fd[];
}

export interface HelperEvents {
  /** Waits for a request: after the start, and after everything foreign was closed. */
  ready(): void;
  reply(reply: HelperReply): void;
  /** The process is gone, or was never started. Called once, in a later turn. */
  exited(): void;
}

export class HelperProcess implements StreamHandler {
  readonly #events: HelperEvents;
  readonly #stream: OsStreamSocket;
  readonly #child: ChildProcess;
  #chunks: Uint8Array[] = [];
  #haveBytes = 0;
  #needBytes = replyHeaderBytes;
  #header: ReplyHeader | undefined;
  #fds: Fd[] = [];
  #exited = false;

  /** @throws OsError when there is no descriptor left for the stream. */
  constructor(calls: StreamCalls, clock: Clock, path: string, events: HelperEvents) {
    this.#events = events;
    const [near, far] = new OsSockets(calls, clock).pair();
    this.#stream = new OsStreamSocket(calls, clock, near);
    try {
      // A session of its own: an interrupt from the terminal is for the broker alone.
      this.#child = spawn(path, [], {
        argv0: 'lessor-helper',
        cwd: '/',
        env: {},
        detached: true,
        stdio: ['ignore', 'ignore', 'ignore', far.number],
      });
    } catch (error) {
      this.#stream[Symbol.dispose]();
      throw error;
    } finally {
      far.close();
    }
    this.#child.on('exit', () => this.#onExit());
    this.#child.on('error', () => this.#onExit());
    this.keepAlive(false);
    this.#stream.start(this, { fdsMax: receiveReport.fdsMax });
  }

  /** Undefined when it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Whether this process waits for the helper before it ends; it does not at first. */
  keepAlive(keepsAlive: boolean): void {
    this.#stream.keepAlive(keepsAlive);
    if (keepsAlive) this.#child.ref();
    else this.#child.unref();
  }

  /** Only when ready. Takes ownership of `lent`. */
  request(request: HelperRequest, lent: Fd): void {
    this.#stream.send(encodeRequest(request), [lent]);
  }

  /** Nothing but `exited` comes after this: at once when idle, else when the operation ends. */
  dismiss(): void {
    this.#stream[Symbol.dispose]();
    this.#dropFds();
  }

  /** As `dismiss`, and interrupts the operation where the kernel lets it. */
  kill(): void {
    this.dismiss();
    this.#child.kill('SIGKILL');
  }

  wantBytes(): number {
    return this.#needBytes - this.#haveBytes;
  }

  data(bytes: Uint8Array, fds: Fd[]): void {
    this.#fds.push(...fds);
    this.#chunks.push(bytes);
    this.#haveBytes += bytes.length;
    if (this.#haveBytes < this.#needBytes) return;
    const whole = this.#chunks.length === 1 ? bytes : Buffer.concat(this.#chunks);
    this.#chunks = [];
    this.#haveBytes = 0;
    if (this.#header === undefined) {
      this.#header = decodeReplyHeader(whole);
      if (this.#header.byteCount === 0) this.#deliver(new Uint8Array());
      else this.#needBytes = this.#header.byteCount;
    } else {
      this.#deliver(whole);
    }
  }

  end(): void {
    // It ended, or its answer could not be read: either way it is of no use.
    this.kill();
  }

  #deliver(bytes: Uint8Array): void {
    const header = this.#header;
    assert(header !== undefined, 'a reply has a header');
    const fds = this.#fds;
    this.#header = undefined;
    this.#needBytes = replyHeaderBytes;
    this.#fds = [];
    if (header.isReady) this.#events.ready();
    else this.#events.reply({ header, bytes, fds });
  }

  #dropFds(): void {
    for (const fd of this.#fds.splice(0)) fd.close();
  }

  #onExit(): void {
    if (this.#exited) return;
    this.#exited = true;
    this.dismiss();
    this.#events.exited();
  }
}
