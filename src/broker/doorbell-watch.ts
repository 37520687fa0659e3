// A guest's store to a mapped doorbell leaves no trace but the bytes: nothing exits to the monitor,
// and no message comes. A device that sleeps is woken every so often, and looks itself.
import type { Clock } from '../base/clock.js';

export class DoorbellWatch implements Disposable {
  readonly #clock: Clock;
  readonly #periodMs: number;
  readonly #look: () => boolean;
  #timer: Disposable | undefined;

  /** @param look - Wakes the device; false: the lease is over, and nobody needs to look again. */
  constructor(clock: Clock, periodMs: number, look: () => boolean) {
    this.#clock = clock;
    this.#periodMs = periodMs;
    this.#look = look;
  }

  /** Whether the guest's stores can reach the device now. */
  set(isOn: boolean): void {
    if (isOn === (this.#timer !== undefined)) return;
    if (isOn) this.#arm();
    else this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  #arm(): void {
    this.#timer = this.#clock.after(this.#periodMs, () => {
      if (this.#look()) this.#arm();
      else this.#timer = undefined;
    });
  }
}
