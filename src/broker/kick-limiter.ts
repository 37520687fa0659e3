// A token bucket for doorbells that come by message.
import type { Clock } from '../base/clock.js';

/** How much of a second's kicks may come at once. */
const burstSeconds = 0.05;

export class KickLimiter {
  readonly #clock: Clock;
  readonly #perSecond: number;
  #tokens: number;
  #filledMs: number;
  #late: Disposable | undefined;

  constructor(clock: Clock, perSecond: number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#tokens = perSecond * burstSeconds;
    this.#filledMs = clock.nowMs();
  }

  /**
   * Runs `kick` now, or once when the next token is due: a kick is delayed, never lost, and many
   * delayed ones become one.
   */
  run(kick: () => void): void {
    const nowMs = this.#clock.nowMs();
    const gained = ((nowMs - this.#filledMs) * this.#perSecond) / 1000;
    this.#tokens = Math.min(this.#tokens + gained, this.#perSecond * burstSeconds);
    this.#filledMs = nowMs;
    if (this.#tokens >= 1) {
      this.#tokens -= 1;
      kick();
      return;
    }
    this.#late ??= this.#clock.after(1000 / this.#perSecond, () => {
      this.#late = undefined;
      kick();
    });
  }

  [Symbol.dispose](): void {
    this.#late?.[Symbol.dispose]();
    this.#late = undefined;
  }
}
