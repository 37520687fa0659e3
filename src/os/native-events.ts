// What native/addon/events.c offers, call by call. Results below zero are -errno.

export interface EventCalls {
  eventFd(initial: number, flags: number): number;
  /** preadv2 with RWF_NOWAIT: as many bytes as the array holds, never waiting for them. */
  readNoWait(fd: number, bytes: Uint8Array): number;
  /** io_setup. @returns The context; also destroyed when the thread's environment ends. */
  aioSetup(eventsMax: number): number;
  aioDestroy(context: number): number;
  /** io_submit of a read of one byte of `fd` whose completion adds 1 to `eventFd`. */
  aioReadAndSignal(context: number, fd: number, eventFd: number): number;
  /** io_getevents without waiting. @returns How many completions were taken. */
  aioReap(context: number): number;
  /** FUTEX_WAIT, not private. A negative timeout waits for ever. */
  futexWait(words: Int32Array, index: number, expected: number, timeoutNs: number): number;
  /** FUTEX_WAKE. @returns How many were woken. */
  futexWake(words: Int32Array, index: number, count: number): number;
}
