// A file descriptor with exactly one owner. Whoever holds the object closes it.

import { errnoName } from '../base/errno.js';
import { assert, OsError } from '../base/errors.js';

/** The two system calls a descriptor needs; a slice of the native binding. */
export interface FdCalls {
  close(fd: number): number;
  /** fcntl F_DUPFD_CLOEXEC. */
  duplicate(fd: number): number;
}

export class Fd implements Disposable {
  readonly #calls: FdCalls;
  #number: number;

  /** Takes ownership of `number`. */
  constructor(calls: FdCalls, number: number) {
    assert(Number.isInteger(number) && number >= 0, `descriptor ${number}`);
    this.#calls = calls;
    this.#number = number;
  }

  /** The descriptor's number. A closed or released one is our own bug. */
  get number(): number {
    assert(this.#number >= 0, 'use of a closed descriptor');
    return this.#number;
  }

  get isOpen(): boolean {
    return this.#number >= 0;
  }

  /** A second descriptor of the same open file, with an owner of its own, close-on-exec. */
  duplicate(): Fd {
    const copy = this.#calls.duplicate(this.number);
    if (copy < 0) throw new OsError(errnoName(-copy), 'fcntl', 'F_DUPFD_CLOEXEC');
    return new Fd(this.#calls, copy);
  }

  /** Gives ownership of the bare number to the caller. */
  release(): number {
    const number = this.number;
    this.#number = -1;
    return number;
  }

  /** Closes; closing twice does nothing. */
  close(): void {
    if (this.#number < 0) return;
    const number = this.#number;
    this.#number = -1;
    this.#calls.close(number);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Closes every descriptor of a list, for error paths. */
export function closeAll(fds: Iterable<Fd>): void {
  for (const fd of fds) fd.close();
}
