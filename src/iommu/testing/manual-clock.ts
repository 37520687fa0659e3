// A clock for tests of this room: real readings, but callbacks fire only by hand.
import type { Clock } from '../../base/clock.js';

export class ManualClock implements Clock {
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>();
  #skippedMs = 0;

  nowMs(): number {
    return performance.now() + this.#skippedMs;
  }

  wallMs(): number {
    return this.nowMs();
  }

  after(delayMs: number, callback: () => void): Disposable {
    const timer = { atMs: this.nowMs() + delayMs, callback };
    this.#timers.add(timer);
    return { [Symbol.dispose]: () => this.#timers.delete(timer) };
  }

  /** Moves time on, and fires what is due. */
  advance(deltaMs: number): void {
    this.#skippedMs += deltaMs;
    for (const timer of [...this.#timers]) {
      if (timer.atMs > this.nowMs() || !this.#timers.delete(timer)) continue;
      timer.callback();
    }
  }

  get timerCount(): number {
    return this.#timers.size;
  }
}
