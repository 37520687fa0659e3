// Requests that wait for a slice: first in, first out within a priority. Pure bookkeeping.
import { assert, LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';

export interface Waiter {
  readonly id: string;
  readonly uid: number;
  /** Higher is served first, in -limits.priorityMax..limits.priorityMax. */
  readonly priority: number;
}

/**
 * What can be done for one waiter now. `take`: serve it. `pass`: nothing fits, look at the next.
 * `hold`: nothing fits, and nobody behind it may be served before it (it waits for the whole
 * function, which the others would keep from it for ever).
 */
export type Fit = 'take' | 'pass' | 'hold';

export class WaitQueue<T extends Waiter> {
  /** In the order in which they are served. */
  readonly #waiters: T[] = [];
  readonly #countByUid = new Map<number, number>();
  readonly #perUidMax: number;

  constructor(perUidMax: number = limits.waitersPerUidMax) {
    this.#perUidMax = perUidMax;
  }

  get length(): number {
    return this.#waiters.length;
  }

  countOf(uid: number): number {
    return this.#countByUid.get(uid) ?? 0;
  }

  /**
   * Adds a waiter behind all of its priority.
   *
   * @throws LessorError `QUOTA_EXCEEDED` when its uid has `perUidMax` waiters already.
   */
  add(waiter: T): void {
    assert(!this.#waiters.some((other) => other.id === waiter.id), `${waiter.id} waits already`);
    const count = this.countOf(waiter.uid);
    if (count >= this.#perUidMax) {
      throw new LessorError('QUOTA_EXCEEDED', `uid ${waiter.uid} has ${count} waiting requests`);
    }
    const behind = this.#waiters.findIndex((other) => other.priority < waiter.priority);
    this.#waiters.splice(behind < 0 ? this.#waiters.length : behind, 0, waiter);
    this.#countByUid.set(waiter.uid, count + 1);
  }

  /** Removes a waiter that gave up; undefined when it does not wait. */
  cancel(id: string): T | undefined {
    return this.#removeAt(this.#waiters.findIndex((waiter) => waiter.id === id));
  }

  /** Removes and returns the first that can be served, asking in order. */
  take(judge: (waiter: T) => Fit): T | undefined {
    for (let index = 0; index < this.#waiters.length; index += 1) {
      const answer = judge(this.#waiters[index]!);
      if (answer === 'take') return this.#removeAt(index);
      if (answer === 'hold') return undefined;
    }
    return undefined;
  }

  /** The waiters in the order in which they are served. */
  [Symbol.iterator](): Iterator<T> {
    return [...this.#waiters][Symbol.iterator]();
  }

  #removeAt(index: number): T | undefined {
    if (index < 0) return undefined;
    const [waiter] = this.#waiters.splice(index, 1);
    const count = this.countOf(waiter!.uid) - 1;
    if (count === 0) this.#countByUid.delete(waiter!.uid);
    else this.#countByUid.set(waiter!.uid, count);
    return waiter;
  }
}
