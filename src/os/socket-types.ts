// Stream sockets with descriptor passing. Non-blocking, close-on-exec, AF_UNIX SOCK_STREAM.
import type { Fd } from './fd.js';
import type { HelperPool } from './helper-types.js';

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface StreamHandler {
  /** Bytes of the next read at most, at least 1: a protocol may read its header alone. */
  wantBytes(): number;
  /**
   * Bytes that arrived, with the descriptors that came with them. The handler owns both. The
   * view is the handler's to keep.
   *
   * @param refusedCount - Descriptors that the screening closed; 0 without screening.
   */
  data(bytes: Uint8Array, fds: Fd[], refusedCount: number): void;
  /**
   * Bytes that came without descriptors, perhaps past what is wanted. `buffer` is lent: its first
   * `lengthBytes` are valid until this returns. Absent: no read is of more than `wantBytes()`.
   *
   * @param lostFds - Descriptors came with the last send in it, against `refusesFds`. They are
   *   closed, nobody has seen them.
   */
  ahead?(buffer: Uint8Array, lengthBytes: number, lostFds: boolean): void;
  /**
   * Asked before a read that may go ahead. True: a descriptor would be nonsense with any byte that
   * can come now, so that nobody has to find out which byte it came with. Never asked of a stream
   * that is screened.
   */
  refusesFds?(): boolean;
  /** The send queue was not empty and the kernel has taken all of it. */
  drained?(): void;
  /**
   * The stream is over; called once, after which the socket is closed. Undefined: orderly
   * end-of-file. An error: OsError of recvmsg or sendmsg, or ProtocolError for truncated
   * ancillary data (MSG_CTRUNC), too many descriptors, or a send queue over its limit.
   */
  end(error: Error | undefined): void;
}

export interface StreamOptions {
  /** Descriptors taken with one read; more end the stream, all closed. 0: SO_PASSRIGHTS=0. */
  readonly fdsMax: number;
  /**
   * For peers that are not trusted: bytes that carry descriptors are received by a helper process,
   * which passes on shmem and hugetlb memory and eventfds, and closes everything else itself.
   * Closing a foreign file (FUSE, NFS) can hang whoever does it, so the broker must never own one.
   */
  readonly screen?: { readonly helpers: HelperPool; readonly uid: number };
  /**
   * Small sends without descriptors are sent together, when the reads of this turn of the event
   * loop are done or when the running code gives way to the next microtask. Closing sends them.
   */
  readonly gather?: boolean;
}

export interface StreamSocket extends Disposable {
  readonly fd: Fd;
  readonly isOpen: boolean;
  /** Starts reading. Call once. */
  start(handler: StreamHandler, options: StreamOptions): void;
  /** Stops and resumes reading, for back-pressure. */
  pause(): void;
  resume(): void;
  /**
   * Sends now as far as the kernel takes it, queues the rest. Takes ownership of `fds`: they are
   * closed once sent, and on any failure. Sending on a closed socket closes them and returns.
   * The descriptors go with the first byte.
   */
  send(bytes: Uint8Array, fds?: readonly Fd[]): void;
  /**
   * Sends at once what was gathered. For code that goes on without giving way, as one that spins
   * on memory until the peer has done what was sent.
   */
  flush(): void;
  /** Bytes accepted by `send` and not yet by the kernel. `drained` tells when there are none. */
  readonly queuedBytes: number;
  /** Closes after what is queued was sent, at most `deadlineMs` later. */
  end(deadlineMs?: number): void;
  /** SO_PEERCRED. */
  credentials(): PeerCredentials;
  /** SO_PEERPIDFD (Linux 6.5): a pidfd of the peer as it was at connect. Caller owns it. */
  peerPidfd(): Fd;
  /** Closes at once; queued descriptors are closed too. `end` of the handler is not called. */
  [Symbol.dispose](): void;
}

export interface ListenerSocket extends Disposable {
  readonly path: string;
}

/** A listening socket from which nobody here takes connections: to be passed on. */
export interface BoundSocket extends Disposable {
  readonly path: string;
  readonly fd: Fd;
}

export interface SocketOs {
  /** Two connected sockets. */
  pair(): [Fd, Fd];
  /** A stream over a connected socket; takes ownership of `fd`. */
  stream(fd: Fd): StreamSocket;
  /** Binds (mode of the socket file in octal), listens, and hands over each connection. */
  listen(path: string, mode: number, onConnection: (socket: StreamSocket) => void): ListenerSocket;
  /**
   * Binds and listens, and takes no connection. Disposing closes the descriptor and removes the
   * file, unless another took its place.
   *
   * @param mode - Of the socket file, in octal.
   * @param backlog - Connections that may wait.
   */
  bind(path: string, mode: number, backlog: number): BoundSocket;
  /** True for a listening AF_UNIX stream socket. Cannot block, whatever the descriptor is. */
  isListening(fd: Fd): boolean;
  /**
   * Calls back, from the event loop, while a connection waits on a listening socket, or the socket
   * was shut down. Nothing is accepted. Sets O_NONBLOCK.
   *
   * @param fd - One for which `isListening` holds. Stays open until the result is disposed.
   * @throws OsError when waiting cannot start.
   */
  onConnectable(fd: Fd, listener: () => void): Disposable;
  /** @throws OsError ENOENT, ECONNREFUSED, EACCES. */
  connect(path: string): StreamSocket;
}
