// Two connected StreamSockets in memory, with the kernel's rules for descriptors: they come with
// the first byte of what they were sent with, and a read ends behind such a send. Delivery is
// asynchronous. Reads go ahead as the kernel's would. A test can have the stream cut into small
// reads.
import { assert, ProtocolError } from '../../base/errors.js';
import { closeAll, type Fd } from '../../os/fd.js';
import { aheadBytesMax } from '../../os/receive.js';
import type { StreamHandler, StreamOptions, StreamSocket } from '../../os/socket-types.js';
import type { FdTable } from './fd-table.js';

interface Segment {
  bytes: Uint8Array;
  fds: Fd[];
  refusedCount: number;
}

export class PipeSocket implements StreamSocket {
  readonly fd: Fd;
  /** At most so many bytes come with one read. */
  readBytesMax = Number.POSITIVE_INFINITY;
  /** Sends and reads so far, to count what would be system calls. */
  sendCount = 0;
  readCount = 0;
  peer: PipeSocket | undefined;
  readonly #incoming: Segment[] = [];
  /** Sends before this one were read: taking them out one by one would move the rest. */
  #first = 0;
  #handler: StreamHandler | undefined;
  #options: StreamOptions = { fdsMax: 0 };
  #paused = false;
  #scheduled = false;
  #peerClosed = false;
  #open = true;

  constructor(fd: Fd) {
    this.fd = fd;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  get queuedBytes(): number {
    return 0;
  }

  get isPaused(): boolean {
    return this.#paused;
  }

  /** Bytes that arrived and were not read. */
  get unreadBytes(): number {
    return this.#incoming.reduce((sum, segment) => sum + segment.bytes.length, 0);
  }

  start(handler: StreamHandler, options: StreamOptions): void {
    assert(this.#handler === undefined, 'started twice');
    this.#handler = handler;
    this.#options = options;
    this.#schedule();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#schedule();
  }

  send(bytes: Uint8Array, fds: readonly Fd[] = [], refusedCount = 0): void {
    const { peer } = this;
    if (!this.#open || peer === undefined || !peer.#open) {
      closeAll(fds);
      return;
    }
    this.sendCount++;
    peer.#incoming.push({ bytes: bytes.slice(), fds: [...fds], refusedCount });
    peer.#schedule();
  }

  flush(): void {}

  end(): void {
    this[Symbol.dispose]();
  }

  credentials() {
    return { pid: 1, uid: 0, gid: 0 };
  }

  peerPidfd(): Fd {
    return this.fd.duplicate();
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.fd.close();
    for (const segment of this.#incoming.splice(0)) closeAll(segment.fds);
    const { peer } = this;
    if (peer === undefined || !peer.#open) return;
    peer.#peerClosed = true;
    peer.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#handler === undefined) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    while (this.#open && !this.#paused && this.#first < this.#incoming.length) this.#readOnce();
    if (!this.#open || this.#paused || !this.#peerClosed) return;
    this.#finish(undefined);
  }

  #readOnce(): void {
    const handler = this.#handler as StreamHandler;
    const wantBytes = handler.wantBytes();
    assert(wantBytes >= 1, `${wantBytes} bytes wanted`);
    const plainBytes = handler.ahead === undefined ? 0 : this.#plainBytes();
    const { bytes, fds, refusedCount } = this.#take(
      Math.min(plainBytes === 0 ? wantBytes : plainBytes, this.readBytesMax),
    );
    this.readCount++;
    if (plainBytes > 0) {
      assert(fds.length + refusedCount === 0, 'a descriptor among plain bytes');
      // Used again, as the real one: whoever keeps a view of it shows in the tests.
      handler.ahead?.(bytes, bytes.length, false);
      bytes.fill(0xee);
      return;
    }
    if (fds.length > this.#options.fdsMax) {
      closeAll(fds);
      this.#finish(new ProtocolError('SCM_RIGHTS', 0, 'truncated'));
      return;
    }
    handler.data(bytes, fds, refusedCount);
  }

  /** How many bytes a read that goes ahead would take; 0 when descriptors are in the stream. */
  #plainBytes(): number {
    const unread = this.#incoming.slice(this.#first);
    if (unread.some(({ fds, refusedCount }) => fds.length + refusedCount > 0)) return 0;
    return Math.min(this.unreadBytes, aheadBytesMax);
  }

  #take(bytesMax: number): Segment {
    const parts: Uint8Array[] = [];
    let room = bytesMax;
    let fds: Fd[] = [];
    let refusedCount = 0;
    while (room > 0 && fds.length + refusedCount === 0) {
      const segment = this.#incoming[this.#first];
      if (segment === undefined) break;
      const part = segment.bytes.subarray(0, room);
      parts.push(part);
      room -= part.length;
      ({ fds, refusedCount } = segment);
      segment.bytes = segment.bytes.subarray(part.length);
      segment.fds = [];
      segment.refusedCount = 0;
      if (segment.bytes.length === 0) this.#first++;
    }
    if (this.#first === this.#incoming.length) {
      this.#incoming.length = 0;
      this.#first = 0;
    }
    return { bytes: new Uint8Array(Buffer.concat(parts)), fds, refusedCount };
  }

  #finish(error: Error | undefined): void {
    const handler = this.#handler as StreamHandler;
    this[Symbol.dispose]();
    handler.end(error);
  }
}

/** Two connected sockets whose own descriptors are in `table` too. */
export function pipePair(table: FdTable): [PipeSocket, PipeSocket] {
  const one = new PipeSocket(table.open('socket'));
  const other = new PipeSocket(table.open('socket'));
  one.peer = other;
  other.peer = one;
  return [one, other];
}
