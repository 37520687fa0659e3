// When an INTx line that fired may be unmasked again. Pure: the clock is the caller's.

/** The first pause after an unmask found the line still asserted; each further one is double. */
const firstPauseMs = 1;

export interface IntxPaceOptions {
  /** Unmasks in a second, at most. */
  readonly perSecondMax: number;
  /** The longest pause while the line stays asserted. */
  readonly pauseMsMax: number;
}

/**
 * A device that nobody serves keeps its line asserted, and every unmask of it is another interrupt
 * at once: those are spaced out, twice as far each time. A line that was found quiet is unmasked
 * without delay the next time, as long as that is not too often.
 */
export class IntxPace {
  readonly #options: IntxPaceOptions;
  #lastMs = Number.NEGATIVE_INFINITY;
  #pauseMs = 0;

  constructor(options: IntxPaceOptions) {
    this.#options = options;
  }

  /** How long to wait from `nowMs` until the line is unmasked. */
  delayMs(nowMs: number): number {
    const gapMs = Math.max(this.#pauseMs, 1000 / this.#options.perSecondMax);
    return Math.max(0, this.#lastMs + gapMs - nowMs);
  }

  /** The line was unmasked. @param isAsserted - It fired again at once. */
  unmasked(nowMs: number, isAsserted: boolean): void {
    this.#lastMs = nowMs;
    if (!isAsserted) this.#pauseMs = 0;
    else {
      const doubled = this.#pauseMs === 0 ? firstPauseMs : this.#pauseMs * 2;
      this.#pauseMs = Math.min(doubled, this.#options.pauseMsMax);
    }
  }
}
