// The system calls of sockets and readiness in memory: what StreamSocket runs on in tests that
// need no kernel. Errnos are those of Linux.
import { type Errno, errnoNumber } from '../../base/errno.js';
import { type PollCalls, pollEvents, receiveReport, type SocketCalls } from '../native-sockets.js';
import * as socket from '../socket-constants.js';
import type { SocketFiles } from '../socket-file.js';
import { FakeFile, FakeFiles } from './fake-files.js';
import { FakePolls } from './fake-polls.js';
import { type FakeIdentity, FakeSocket } from './fake-socket.js';

function failure(errno: Errno): number {
  return -errnoNumber(errno);
}

function pathOf(address: Uint8Array): string {
  return Buffer.from(address.subarray(2, -1)).toString();
}

export class FakeKernel extends FakeFiles implements SocketCalls, PollCalls {
  readonly #polls = new FakePolls((fd) => this.#readyEvents(fd));
  readonly #bound = new Map<string, FakeSocket>();
  #identity: FakeIdentity = {
    pid: process.pid,
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
  };
  #inodeCount = 0n;
  readonly #inodes = new Map<string, bigint>();
  /** Process ids that are gone. */
  readonly exited = new Set<number>();

  readonly socketFiles: SocketFiles = {
    setSocketMode: () => {},
    setMode: () => {},
    identity: (path) => {
      const inode = this.#inodes.get(path);
      return inode === undefined ? undefined : { device: 0n, inode };
    },
    remove: (path) => {
      this.#bound.delete(path);
      this.#inodes.delete(path);
    },
  };

  get identity(): FakeIdentity {
    return this.#identity;
  }

  /** Does something as another process: sockets made meanwhile are its. */
  actAs<T>(identity: FakeIdentity, body: () => T): T {
    const before = this.#identity;
    this.#identity = identity;
    try {
      return body();
    } finally {
      this.#identity = before;
    }
  }

  /** A process is gone: its pidfds become readable. Its sockets stay: others may hold them. */
  exit(pid: number): void {
    this.exited.add(pid);
    this.#polls.changed();
  }

  pollStart(fd: number, events: number, callback: (events: number) => void): number {
    return this.#polls.pollStart(fd, events, callback);
  }

  pollUpdate(handle: number, events: number): number {
    return this.#polls.pollUpdate(handle, events);
  }

  pollStop(handle: number): number {
    return this.#polls.pollStop(handle);
  }

  pollReference(handle: number): number {
    return this.#polls.pollReference(handle);
  }

  socket(): number {
    return this.install(this.#createSocket());
  }

  socketPair(_domain: number, _type: number, out: Int32Array): number {
    const [one, other] = [this.#createSocket(), this.#createSocket()];
    FakeSocket.connect(one, other);
    out[0] = this.install(one);
    out[1] = this.install(other);
    return 0;
  }

  bind(fd: number, address: Uint8Array): number {
    const bound = this.#socket(fd);
    const path = pathOf(address);
    if (bound === undefined) return failure('EBADF');
    if (this.#inodes.has(path)) return failure('EADDRINUSE');
    bound.path = path;
    this.#bound.set(path, bound);
    this.#inodes.set(path, ++this.#inodeCount);
    return 0;
  }

  listen(fd: number): number {
    const listener = this.#socket(fd);
    if (listener === undefined) return failure('EBADF');
    listener.waiting = [];
    return 0;
  }

  connect(fd: number, address: Uint8Array): number {
    const client = this.#socket(fd);
    if (client === undefined) return failure('EBADF');
    const path = pathOf(address);
    if (!this.#inodes.has(path)) return failure('ENOENT');
    const listener = this.#bound.get(path);
    if (listener?.waiting === undefined || listener.isClosed) return failure('ECONNREFUSED');
    const server = new FakeSocket(listener.owner, () => this.#polls.changed());
    FakeSocket.connect(client, server);
    listener.waiting.push(server);
    this.#polls.changed();
    return 0;
  }

  accept(fd: number): number {
    const listener = this.#socket(fd);
    if (listener?.waiting === undefined) return failure('EINVAL');
    const server = listener.waiting.shift();
    return server === undefined ? failure('EAGAIN') : this.install(server);
  }

  shutdown(fd: number): number {
    const end = this.#socket(fd);
    if (end === undefined) return failure('EBADF');
    end.isAtEnd = true;
    if (end.peer) end.peer.isAtEnd = true;
    this.#polls.changed();
    return 0;
  }

  getSocketOption(fd: number, _level: number, name: number, value: Uint8Array): number {
    const end = this.#socket(fd);
    if (end === undefined) return failure('ENOTSOCK');
    const words = new Int32Array(value.buffer);
    const plain: Readonly<Record<number, number>> = {
      [socket.SO_DOMAIN]: socket.AF_UNIX,
      [socket.SO_TYPE]: socket.SOCK_STREAM,
      [socket.SO_ACCEPTCONN]: end.waiting === undefined ? 0 : 1,
    };
    if (plain[name] !== undefined) {
      words[0] = plain[name];
      return value.length;
    }
    const { peer } = end;
    if (peer === undefined) return failure('ENOTCONN');
    const { pid, uid, gid } = peer.owner;
    if (name === socket.SO_PEERCRED) {
      words.set([pid, uid, gid]);
    } else if (name === socket.SO_PEERPIDFD) {
      if (this.exited.has(pid)) return failure('ESRCH');
      words[0] = this.install(new FakeFile('pidfd', pid));
    } else {
      return failure('ENOPROTOOPT');
    }
    return value.length;
  }

  setSocketOption(fd: number, _level: number, name: number, value: Uint8Array): number {
    const end = this.#socket(fd);
    if (end === undefined) return failure('EBADF');
    if (name === socket.SO_PASSRIGHTS) end.acceptsFds = value[0] !== 0;
    return 0;
  }

  sendMessage(
    fd: number,
    bytes: Uint8Array,
    offset: number,
    fds: Int32Array | undefined,
    _flags: number,
    end = bytes.length,
  ): number {
    const { peer } = this.#socket(fd) ?? {};
    if (peer === undefined) return failure('ENOTCONN');
    const files: FakeFile[] = [];
    for (const number of fds ?? []) {
      const file = this.file(number);
      if (file === undefined) return failure('EBADF');
      files.push(file);
    }
    if (files.length > receiveReport.fdsMax) return failure('EINVAL');
    if (peer.isClosed) return failure('EPIPE');
    if (files.length > 0 && !peer.acceptsFds) return failure('EPERM');
    if (peer.freeBytes <= 0) return failure('EAGAIN');
    const sent = bytes.slice(offset, Math.min(end, offset + peer.freeBytes));
    peer.push(sent, files);
    return sent.length;
  }

  receiveMessage(
    fd: number,
    bytes: Uint8Array,
    lengthBytes: number,
    report: Int32Array,
    flags: number,
    withControl: boolean,
  ): number {
    const end = this.#socket(fd);
    report.fill(0, 0, receiveReport.fds);
    if (end === undefined) return failure('EBADF');
    if (!end.hasBytes) {
      if (end.wasReset) {
        end.wasReset = false;
        return failure('ECONNRESET');
      }
      return end.isAtEnd ? 0 : failure('EAGAIN');
    }
    const peek = (flags & socket.MSG_PEEK) !== 0;
    const read = end.read(lengthBytes, peek);
    bytes.set(read.bytes);
    if (withControl) {
      read.files.forEach((file, index) => {
        report[receiveReport.fds + index] = this.install(file);
      });
      report[receiveReport.count] = read.files.length;
    } else if (read.files.length > 0) {
      report[receiveReport.flags] = socket.MSG_CTRUNC;
    }
    if (!peek) for (const file of read.files) this.drop(file);
    return read.bytes.length;
  }

  #createSocket(): FakeSocket {
    return new FakeSocket(this.#identity, () => this.#polls.changed());
  }

  #socket(fd: number): FakeSocket | undefined {
    const file = this.file(fd);
    return file instanceof FakeSocket ? file : undefined;
  }

  #readyEvents(fd: number): number | undefined {
    const file = this.file(fd);
    if (file === undefined) return undefined;
    if (file.kind === 'pidfd') return this.exited.has(file.label) ? pollEvents.readable : 0;
    if (!(file instanceof FakeSocket)) return 0;
    if (file.waiting !== undefined) return file.waiting.length > 0 ? pollEvents.readable : 0;
    const readable = file.hasBytes || file.isAtEnd ? pollEvents.readable : 0;
    const { peer } = file;
    const writable = peer === undefined || peer.isClosed || peer.freeBytes > 0;
    return readable | (writable ? pollEvents.writable : 0);
  }
}
