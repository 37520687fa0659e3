// Time that passes only when told to.

import type { Clock } from '../../base/clock.js';
import { assert } from '../../base/errors.js';

interface Timer {
  readonly dueMs: number;
  readonly callback: () => void;
}

export class FakeClock implements Clock {
  #nowMs: number;
  readonly #epochMs: number;
  readonly #timers = new Set<Timer>();

  /** @param epochMs - What `wallMs` says at time 0. */
  constructor(nowMs = 0, epochMs = 1_700_000_000_000) {
    this.#nowMs = nowMs;
    this.#epochMs = epochMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#epochMs + this.#nowMs;
  }

  after(delayMs: number, callback: () => void): Disposable {
    const timer = { dueMs: this.#nowMs + Math.max(delayMs, 0), callback };
    this.#timers.add(timer);
    return { [Symbol.dispose]: () => this.#timers.delete(timer) };
  }

  /** Timers that are neither due nor cancelled. */
  get pendingCount(): number {
    return this.#timers.size;
  }

  /** Lets time pass; every timer runs at its own moment, also those set meanwhile. */
  advance(durationMs: number): void {
    assert(durationMs >= 0, 'time passes forward');
    const endMs = this.#nowMs + durationMs;
    for (let timer = this.#next(endMs); timer !== undefined; timer = this.#next(endMs)) {
      this.#timers.delete(timer);
      this.#nowMs = Math.max(this.#nowMs, timer.dueMs);
      timer.callback();
    }
    this.#nowMs = endMs;
  }

  /** As `advance`, with a turn of the event loop after every timer, for promises and I/O. */
  async pass(durationMs: number): Promise<void> {
    assert(durationMs >= 0, 'time passes forward');
    const endMs = this.#nowMs + durationMs;
    await new Promise((resolve) => setImmediate(resolve));
    for (let timer = this.#next(endMs); timer !== undefined; timer = this.#next(endMs)) {
      this.#timers.delete(timer);
      this.#nowMs = Math.max(this.#nowMs, timer.dueMs);
      timer.callback();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#nowMs = endMs;
  }

  /** The first one due; of several, the one set first. */
  #next(endMs: number): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs <= endMs && (first === undefined || timer.dueMs < first.dueMs)) first = timer;
    }
    return first;
  }
}
