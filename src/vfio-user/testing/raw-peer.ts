// The other end of a connection, byte by byte: sends any frame, right or wrong, and collects what
// comes back without judging it.
import { errnoName } from '../../base/errno.js';
import { closeAll, type Fd } from '../../os/fd.js';
import type { StreamHandler, StreamSocket } from '../../os/socket-types.js';
import { deviceInfo, header, VFIO_USER_F_ERROR, VFIO_USER_VERSION } from '../../uapi/vfio-user.js';
import type { Header } from '../framing.js';
import { encodeVersion, ownCapabilities } from '../version.js';
import { until } from './world.js';

/** What deviates from a proper command. */
export interface FrameChanges {
  readonly messageId?: number;
  readonly flags?: number;
  readonly errno?: number;
  readonly messageSize?: number;
  readonly fds?: readonly Fd[];
}

export interface Received {
  readonly header: Header;
  readonly payload: Uint8Array;
  readonly fds: readonly Fd[];
}

const headerBytes = 16;

export function rawFrame(
  command: number,
  payload: Uint8Array = new Uint8Array(0),
  changes: FrameChanges = {},
): Uint8Array {
  const { messageId = 7, flags = 0, errno = 0 } = changes;
  const messageSize = changes.messageSize ?? headerBytes + payload.length;
  const bytes = new Uint8Array(headerBytes + payload.length);
  header.encodeAt({ messageId, command, messageSize, flags, errno }, bytes, 0);
  bytes.set(payload, headerBytes);
  return bytes;
}

/** The payload of a proper DEVICE_GET_INFO. */
export function infoPayload(argsz = 16): Uint8Array {
  return deviceInfo.encode({ argsz, flags: 0, numRegions: 0, numIrqs: 0 });
}

export class RawPeer implements StreamHandler {
  readonly socket: StreamSocket;
  readonly received: Received[] = [];
  ended = false;
  #buffer = new Uint8Array(0);
  #fds: Fd[] = [];

  constructor(socket: StreamSocket) {
    this.socket = socket;
    socket.start(this, { fdsMax: 64 });
  }

  wantBytes(): number {
    if (this.#buffer.length < headerBytes) return headerBytes - this.#buffer.length;
    return header.decodeAt(this.#buffer, 0).messageSize - this.#buffer.length;
  }

  data(bytes: Uint8Array, fds: Fd[]): void {
    const joined = new Uint8Array(this.#buffer.length + bytes.length);
    joined.set(this.#buffer);
    joined.set(bytes, this.#buffer.length);
    this.#buffer = joined;
    this.#fds.push(...fds);
    if (joined.length < headerBytes) return;
    const head = header.decodeAt(joined, 0);
    if (joined.length < head.messageSize) return;
    const payload = joined.subarray(headerBytes);
    this.received.push({ header: head, payload, fds: this.#fds });
    this.#buffer = new Uint8Array(0);
    this.#fds = [];
  }

  end(): void {
    this.ended = true;
  }

  send(command: number, payload?: Uint8Array, changes: FrameChanges = {}): void {
    this.socket.send(rawFrame(command, payload, changes), changes.fds);
  }

  /** The next message; descriptors that come with it are the caller's. */
  async next(): Promise<Received> {
    await until(() => this.received.length > 0 || this.ended, 'a reply');
    const first = this.received.shift();
    if (first === undefined) throw new TypeError('the connection ended without a reply');
    return first;
  }

  /** Sends a command and says what came back: the errno, or 'ok'. */
  async ask(command: number, payload?: Uint8Array, changes?: FrameChanges): Promise<string> {
    this.send(command, payload, changes);
    const reply = await this.next();
    closeAll(reply.fds);
    return verdict(reply);
  }

  /** A proper VERSION. */
  async negotiate(): Promise<void> {
    const payload = encodeVersion(1, ownCapabilities);
    const answer = await this.ask(VFIO_USER_VERSION, payload);
    if (answer !== 'ok') throw new TypeError(`VERSION was answered ${answer}`);
  }

  close(): void {
    for (const message of this.received) closeAll(message.fds);
    closeAll(this.#fds);
    this.socket[Symbol.dispose]();
  }
}

export function verdict({ header: head }: Received): string {
  return (head.flags & VFIO_USER_F_ERROR) === 0 ? 'ok' : errnoName(head.errno);
}
