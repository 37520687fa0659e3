// A clock that a test moves by hand.
import type { Clock } from '../../base/clock.js';

export class ManualClock implements Clock {
  #now = 1000;
  #timers = new Set<{ dueMs: number; callback: () => void }>();

  nowMs(): number {
    return this.#now;
  }

  wallMs(): number {
    return this.#now;
  }

  after(delayMs: number, callback: () => void): Disposable {
    const timer = { dueMs: this.#now + delayMs, callback };
    this.#timers.add(timer);
    return { [Symbol.dispose]: () => this.#timers.delete(timer) };
  }

  advance(ms: number): void {
    this.#now += ms;
    for (const timer of [...this.#timers]) {
      if (timer.dueMs <= this.#now && this.#timers.delete(timer)) timer.callback();
    }
  }

  get timerCount(): number {
    return this.#timers.size;
  }
}
