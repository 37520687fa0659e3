// The life of a served device between messages: steps in turn with its neighbours, a moment of
// spinning after the last work, then sleep until something happens.
import type { Clock } from '../../base/clock.js';
import type { PciDevice } from '../../device/types.js';
import type { TurnResult, Turns, TurnTaker } from './turns.js';

/** Longest time between two looks at a clock that timers of the system are trusted with. */
const timerMsMax = 2 ** 31 - 1;

export interface DeviceLoopOptions {
  readonly device: PciDevice;
  readonly turns: Turns;
  readonly clock: Clock;
  readonly idleSpinMs: number;
  /** Called after each step. */
  readonly afterStep: () => void;
  /** Told of an error that the device should not have thrown; it has no further turn. */
  readonly onBug: (error: unknown) => void;
}

export class DeviceLoop implements TurnTaker, Disposable {
  readonly #options: DeviceLoopOptions;
  #state: 'asleep' | 'awake' | 'stopped' | 'closed' = 'asleep';
  #lastWorkMs = 0;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #timer: Disposable | undefined;
  /** Something happened since the last step began. */
  #hasNews = false;

  constructor(options: DeviceLoopOptions) {
    this.#options = options;
  }

  get isAsleep(): boolean {
    return this.#state === 'asleep';
  }

  /** Something happened that the device may have work for: it has a step soon. */
  wake(): void {
    this.#hasNews = true;
    if (this.#state !== 'asleep' || this.#options.device.step === undefined) return;
    this.#state = 'awake';
    this.#dropTimer();
    this.#lastWorkMs = this.#options.clock.nowMs();
    this.#guard(() => this.#options.device.awake?.());
    if (this.#state === 'awake') this.#options.turns.add(this);
  }

  /** The device asks for a step no later than this. */
  wakeAfter(delayMs: number): void {
    this.#wakeAtMs = Math.min(this.#wakeAtMs, this.#options.clock.nowMs() + delayMs);
    if (this.#state === 'asleep') this.#armTimer();
  }

  /** No step until `start`. */
  stop(): void {
    if (this.#state === 'closed') return;
    this.#options.turns.remove(this);
    this.#dropTimer();
    this.#state = 'stopped';
  }

  start(): void {
    if (this.#state !== 'stopped') return;
    this.#state = 'asleep';
    this.wake();
  }

  [Symbol.dispose](): void {
    this.stop();
    this.#state = 'closed';
  }

  turn(): TurnResult {
    return this.#guard(() => this.#turn()) ?? 'done';
  }

  #turn(): TurnResult {
    // A device that was stopped or closed by another's turn of the same round.
    if (this.#state !== 'awake') return 'done';
    const { device, clock, idleSpinMs, afterStep } = this.#options;
    const hadNews = this.#hasNews;
    this.#hasNews = false;
    const result = device.step === undefined ? 'idle' : device.step();
    afterStep();
    if (this.#state !== 'awake') return 'done';
    const nowMs = clock.nowMs();
    if (result === 'more' || hadNews || nowMs >= this.#wakeAtMs) {
      if (nowMs >= this.#wakeAtMs) this.#wakeAtMs = Number.POSITIVE_INFINITY;
      this.#lastWorkMs = nowMs;
      return 'busy';
    }
    return nowMs - this.#lastWorkMs < idleSpinMs ? 'spinning' : this.#trySleep();
  }

  #trySleep(): TurnResult {
    const { device, clock } = this.#options;
    const isQuiet = device.prepareSleep === undefined || device.prepareSleep();
    if (this.#state !== 'awake') return 'done';
    if (!isQuiet || this.#hasNews) {
      device.awake?.();
      this.#lastWorkMs = clock.nowMs();
      return 'busy';
    }
    this.#state = 'asleep';
    this.#armTimer();
    return 'done';
  }

  #armTimer(): void {
    this.#dropTimer();
    if (this.#wakeAtMs === Number.POSITIVE_INFINITY) return;
    const { clock } = this.#options;
    const delayMs = Math.max(0, Math.min(this.#wakeAtMs - clock.nowMs(), timerMsMax));
    this.#timer = clock.after(delayMs, () => {
      this.#timer = undefined;
      if (clock.nowMs() < this.#wakeAtMs) {
        this.#armTimer();
        return;
      }
      this.#wakeAtMs = Number.POSITIVE_INFINITY;
      this.wake();
    });
  }

  #dropTimer(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  #guard<T>(call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      this[Symbol.dispose]();
      this.#options.onBug(error);
      return undefined;
    }
  }
}
