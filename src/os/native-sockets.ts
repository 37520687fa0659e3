// What native/addon/{sockets,poll}.c offer, call by call. Results below zero are -errno.

/** Layout of the numbers that `receiveMessage` reports. */
export const receiveReport = { count: 0, flags: 1, fds: 2, fdsMax: 253, length: 255 } as const;

export interface SocketCalls {
  /** socket(2), protocol 0. */
  socket(domain: number, type: number): number;
  /** socketpair(2), protocol 0; writes both descriptors. */
  socketPair(domain: number, type: number, out: Int32Array): number;
  bind(fd: number, address: Uint8Array): number;
  connect(fd: number, address: Uint8Array): number;
  listen(fd: number, backlog: number): number;
  /** accept4, without the peer's address. */
  accept(fd: number, flags: number): number;
  shutdown(fd: number, how: number): number;
  /** @returns How many bytes of `value` were written. */
  getSocketOption(fd: number, level: number, name: number, value: Uint8Array): number;
  setSocketOption(fd: number, level: number, name: number, value: Uint8Array): number;
  /**
   * sendmsg of the bytes from `offset` to `end`, with SCM_RIGHTS when there are descriptors.
   *
   * @param end - Default: all of `bytes`.
   */
  sendMessage(
    fd: number,
    bytes: Uint8Array,
    offset: number,
    fds: Int32Array | undefined,
    flags: number,
    end?: number,
  ): number;
  /**
   * recvmsg of at most `lengthBytes`.
   *
   * @param report - At least `receiveReport.length` numbers: count, message flags, descriptors.
   * @param withControl - Control space for 253 descriptors, or none at all.
   */
  receiveMessage(
    fd: number,
    bytes: Uint8Array,
    lengthBytes: number,
    report: Int32Array,
    flags: number,
    withControl: boolean,
  ): number;
}

/** Bits of `events`. */
export const pollEvents = { readable: 1, writable: 2 } as const;

export interface PollCalls {
  /**
   * Calls back from the event loop of this thread whenever `fd` is ready, also when it has an
   * error. One handle per descriptor and thread. Sets O_NONBLOCK.
   *
   * @returns A handle, until `pollStop`.
   */
  pollStart(fd: number, events: number, callback: (events: number) => void): number;
  /** Other events from now on; 0 pauses. */
  pollUpdate(handle: number, events: number): number;
  /** No callback comes after this. Allowed inside a callback; before the descriptor is closed. */
  pollStop(handle: number): number;
  /** Whether the handle keeps the event loop alive; it does at first. */
  pollReference(handle: number, keepsAlive: boolean): number;
}
