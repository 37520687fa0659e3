// Stands between QEMU and a server, passes on every message with its descriptors, and keeps a
// copy: what really went over the wire is what the cases judge by, whoever the server is.
import { closeAll, type Fd, type Os, type StreamSocket } from '../../src/os/index.js';
import { header, VFIO_USER_F_TYPE_MASK } from '../../src/uapi/vfio-user.js';

export interface Seen {
  readonly from: 'client' | 'server';
  readonly bytes: Uint8Array;
  readonly fdCount: number;
  readonly command: number;
  readonly flags: number;
  readonly isReply: boolean;
}

const headerBytes = header.sizeBytes;
const fdsMax = 64;

/** One direction: collects a message, records it, sends it on. */
class Relay {
  readonly #from: Seen['from'];
  readonly #to: StreamSocket;
  readonly #seen: Seen[];
  #parts: Uint8Array[] = [];
  #filledBytes = 0;
  #wholeBytes = headerBytes;
  #fds: Fd[] = [];
  readonly #ended: () => void;

  constructor(from: Seen['from'], to: StreamSocket, seen: Seen[], ended: () => void) {
    this.#from = from;
    this.#to = to;
    this.#seen = seen;
    this.#ended = ended;
  }

  wantBytes(): number {
    return this.#wholeBytes - this.#filledBytes;
  }

  data(bytes: Uint8Array, fds: Fd[]): void {
    this.#parts.push(bytes);
    this.#filledBytes += bytes.length;
    this.#fds.push(...fds);
    if (this.#filledBytes < this.#wholeBytes) return;
    if (this.#wholeBytes === headerBytes) {
      const head = header.decode(new Uint8Array(Buffer.concat(this.#parts)));
      this.#wholeBytes = Math.max(headerBytes, head.messageSize);
      if (this.#filledBytes < this.#wholeBytes) return;
    }
    this.#pass();
  }

  end(): void {
    closeAll(this.#fds);
    this.#ended();
  }

  #pass(): void {
    const bytes = new Uint8Array(Buffer.concat(this.#parts));
    const { command, flags } = header.decodeAt(bytes, 0);
    const isReply = (flags & VFIO_USER_F_TYPE_MASK) !== 0;
    const fdCount = this.#fds.length;
    this.#seen.push({ from: this.#from, bytes, fdCount, command, flags, isReply });
    const fds = this.#fds;
    this.#parts = [];
    this.#filledBytes = 0;
    this.#wholeBytes = headerBytes;
    this.#fds = [];
    this.#to.send(bytes, fds);
  }
}

export class Tap implements Disposable {
  readonly path: string;
  /** Everything, in the order in which it passed. */
  readonly seen: Seen[] = [];
  readonly #os: Os;
  readonly #target: string;
  readonly #listener: Disposable;
  readonly #open = new Set<StreamSocket>();
  readonly #clients = new Set<StreamSocket>();

  /** Listens on `path` and connects to `target` for whoever comes. */
  constructor(os: Os, path: string, target: string) {
    this.path = path;
    this.#os = os;
    this.#target = target;
    this.#listener = os.sockets.listen(path, 0o600, (client) => this.#join(client));
  }

  /** The connections that are open. */
  get openCount(): number {
    return this.#open.size / 2;
  }

  /** Messages of one command. */
  of(command: number, from: Seen['from'], sinceIndex = 0): readonly Seen[] {
    return this.seen
      .slice(sinceIndex)
      .filter((message) => message.command === command && message.from === from);
  }

  /** Leaves what clients send in their sockets, as a server does that is slow. */
  hold(): void {
    for (const client of this.#clients) client.pause();
  }

  letGo(): void {
    for (const client of this.#clients) client.resume();
  }

  [Symbol.dispose](): void {
    this.#listener[Symbol.dispose]();
    for (const socket of this.#open) socket[Symbol.dispose]();
  }

  #join(client: StreamSocket): void {
    let server: StreamSocket;
    try {
      server = this.#os.sockets.connect(this.#target);
    } catch {
      client[Symbol.dispose]();
      return;
    }
    const pair = [client, server];
    const ended = (): void => {
      for (const socket of pair) {
        this.#open.delete(socket);
        this.#clients.delete(socket);
        if (socket.isOpen) socket.end();
      }
    };
    for (const socket of pair) this.#open.add(socket);
    this.#clients.add(client);
    client.start(new Relay('client', server, this.seen, ended), { fdsMax });
    server.start(new Relay('server', client, this.seen, ended), { fdsMax });
  }
}
