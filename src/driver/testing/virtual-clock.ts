// Time that passes only while somebody waits for it: the next timer fires in the next turn of the
// event loop, however far off it is. Fast, and the same in every run.
import type { Clock } from '../../base/clock.js';

interface Timer {
  readonly atMs: number;
  readonly callback: () => void;
}

export class VirtualClock implements Clock {
  #nowMs = 1000;
  readonly #timers = new Set<Timer>();
  #turning = false;
  readonly #onTime: (nowMs: number) => void;

  /** @param onTime - Told whenever time has passed. */
  constructor(onTime: (nowMs: number) => void = () => {}) {
    this.#onTime = onTime;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): Disposable {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.add(timer);
    this.#turn();
    return { [Symbol.dispose]: () => this.#timers.delete(timer) };
  }

  #turn(): void {
    if (this.#turning) return;
    this.#turning = true;
    setImmediate(() => {
      this.#turning = false;
      const next = [...this.#timers].sort((one, other) => one.atMs - other.atMs)[0];
      if (next === undefined) return;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      this.#onTime(this.#nowMs);
      next.callback();
      if (this.#timers.size > 0) this.#turn();
    });
  }
}
