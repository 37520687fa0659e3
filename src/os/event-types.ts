// Readiness, eventfds, futexes.
import type { Fd } from './fd.js';

/**
 * Signals eventfds that a client shares, never blocking. One per thread; disposing takes the
 * kernel tens of milliseconds.
 */
export interface EventSignaller extends Disposable {
  /**
   * Adds 1 to an eventfd by io_submit with IOCB_FLAG_RESFD.
   *
   * @param fd - A descriptor number: device workers know vectors by number.
   * @returns 0 or a negative errno (`EINVAL` when it is not an eventfd).
   */
  signal(fd: number): number;
}

export interface EventOs {
  /** eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK). */
  createEventFd(): Fd;
  /**
   * Reads the counter; 0 when there was nothing. Never waits, also when somebody who shares the
   * eventfd cleared its O_NONBLOCK. Only on an eventfd of our own.
   */
  drain(fd: Fd): bigint;
  /** True when the descriptor is an eventfd; never blocks. */
  isEventFd(fd: Fd): boolean;
  createSignaller(): EventSignaller;
  /** Calls back whenever `fd` is readable (uv_poll, level-triggered), until disposed. */
  watch(fd: Fd, onReadable: () => void): Disposable;
  /** FUTEX_WAIT on a word of any mapping. @returns 0, or a negative errno (EAGAIN, ETIMEDOUT). */
  futexWait(words: Int32Array, index: number, expected: number, timeoutMs: number): number;
  /** FUTEX_WAKE. @returns How many were woken. */
  futexWake(words: Int32Array, index: number, count: number): number;
}
