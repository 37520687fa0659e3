// Two connected StreamSockets in memory, for tests: one read for each send, descriptors with the
// first byte, delivered in a later turn. Splits sends when asked to, as a kernel may.
import { assert } from '../../base/errors.js';
import { closeAll, Fd, type FdCalls } from '../../os/fd.js';
import type {
  PeerCredentials,
  StreamHandler,
  StreamOptions,
  StreamSocket,
} from '../../os/socket-types.js';

/** Descriptors that are mere numbers, counted. */
export class FakeFds implements FdCalls {
  readonly open = new Set<number>();
  #next = 100;

  create(): Fd {
    const number = this.#next;
    this.#next += 1;
    this.open.add(number);
    return new Fd(this, number);
  }

  close(fd: number): number {
    assert(this.open.delete(fd), `descriptor ${fd} closed twice`);
    return 0;
  }

  duplicate(): number {
    return this.create().release();
  }
}

interface Packet {
  readonly bytes: Uint8Array;
  readonly fds: readonly Fd[];
}

export interface PipeEnd extends StreamSocket {
  /** Bytes of one read at most; smaller ones test reassembly. */
  readBytesMax: number;
  /** Descriptors to report as refused with the next read. */
  refuseNext: number;
  /** Everything that was sent from this end, as text. */
  readonly sent: string;
  readonly isPaused: boolean;
}

class End implements PipeEnd {
  readonly fd: Fd;
  readonly #credentials: PeerCredentials;
  readonly #fds: FakeFds;
  peer: End | undefined;
  readBytesMax = 65_536;
  refuseNext = 0;
  sent = '';
  isOpen = true;
  isPaused = false;
  #handler: StreamHandler | undefined;
  #options: StreamOptions | undefined;
  #incoming: Packet[] = [];
  #scheduled = false;
  /** The peer will send no more. */
  #ended = false;

  constructor(fds: FakeFds, credentials: PeerCredentials) {
    this.#fds = fds;
    this.fd = fds.create();
    this.#credentials = credentials;
  }

  get queuedBytes(): number {
    return 0;
  }

  start(handler: StreamHandler, options: StreamOptions): void {
    assert(this.#handler === undefined, 'started twice');
    this.#handler = handler;
    this.#options = options;
    this.#schedule();
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    this.#schedule();
  }

  send(bytes: Uint8Array, fds: readonly Fd[] = []): void {
    if (!this.isOpen || !this.peer?.isOpen) {
      closeAll(fds);
      return;
    }
    this.sent += Buffer.from(bytes).toString('utf8');
    this.peer.#incoming.push({ bytes: Uint8Array.from(bytes), fds });
    this.peer.#schedule();
  }

  flush(): void {}

  end(): void {
    this[Symbol.dispose]();
  }

  credentials(): PeerCredentials {
    return this.#credentials;
  }

  peerPidfd(): Fd {
    return this.#fds.create();
  }

  [Symbol.dispose](): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.fd.close();
    for (const { fds } of this.#incoming.splice(0)) closeAll(fds);
    if (this.peer) {
      this.peer.#ended = true;
      this.peer.#schedule();
    }
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    const handler = this.#handler;
    if (!handler || !this.isOpen || this.isPaused) return;
    const packet = this.#incoming.shift();
    if (packet) {
      const count = Math.min(this.readBytesMax, handler.wantBytes());
      const rest = packet.bytes.subarray(count);
      if (rest.length > 0) this.#incoming.unshift({ bytes: rest, fds: [] });
      if (packet.fds.length > this.#options!.fdsMax) {
        closeAll(packet.fds);
        this[Symbol.dispose]();
        handler.end(undefined);
        return;
      }
      const refused = this.refuseNext;
      this.refuseNext = 0;
      handler.data(packet.bytes.subarray(0, count), [...packet.fds], refused);
      this.#schedule();
    } else if (this.#ended) {
      this[Symbol.dispose]();
      handler.end(undefined);
    }
  }
}

/** The two ends of a connection whose peers say they are these. */
export function createPipe(
  fds: FakeFds,
  one: PeerCredentials = { pid: 1, uid: 1000, gid: 1000 },
  two: PeerCredentials = { pid: 2, uid: 1000, gid: 1000 },
): [PipeEnd, PipeEnd] {
  const left = new End(fds, two);
  const right = new End(fds, one);
  left.peer = right;
  right.peer = left;
  return [left, right];
}
