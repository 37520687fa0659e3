// The devices of one thread take turns on its event loop: in each round of it they have a fixed
// time together, so that sockets, timers and each other's clients never wait long.
import type { Clock } from '../../base/clock.js';

/** What all devices together may take between two looks at sockets and timers. */
const roundMs = 0.1;
/** Turns of one device in a round, where the clock stands still. */
const turnsPerRound = 64;

/** What a turn ended with: more work; nothing now, but look again; no turn until `Turns.add`. */
export type TurnResult = 'busy' | 'spinning' | 'done';

/** A device that has something to do. */
export interface TurnTaker {
  /** Does one bounded piece of work. */
  turn(): TurnResult;
}

export class Turns {
  readonly #clock: Clock;
  /** In order of their next turn. */
  readonly #waiting = new Set<TurnTaker>();
  #isScheduled = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Gives it turns, from the next round of the event loop on. */
  add(taker: TurnTaker): void {
    this.#waiting.add(taker);
    this.#schedule();
  }

  /** No further turn. */
  remove(taker: TurnTaker): void {
    this.#waiting.delete(taker);
  }

  #schedule(): void {
    if (this.#isScheduled || this.#waiting.size === 0) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#round();
    });
  }

  #round(): void {
    const spinning: TurnTaker[] = [];
    try {
      const endMs = this.#clock.nowMs() + roundMs;
      for (let left = this.#waiting.size * turnsPerRound; left > 0; left--) {
        const [next] = this.#waiting;
        if (next === undefined) return;
        this.#waiting.delete(next);
        const result = next.turn();
        if (result === 'busy') this.#waiting.add(next);
        // One look in a round is enough: what it waits for comes from outside.
        else if (result === 'spinning') spinning.push(next);
        if (this.#clock.nowMs() >= endMs) return;
      }
    } finally {
      // Also when a device threw: the others go on.
      for (const taker of spinning) this.#waiting.add(taker);
      this.#schedule();
    }
  }
}

const shared = new WeakMap<Clock, Turns>();

/** The turns of all devices that live by this clock. */
export function sharedTurns(clock: Clock): Turns {
  const turns = shared.get(clock) ?? new Turns(clock);
  shared.set(clock, turns);
  return turns;
}
