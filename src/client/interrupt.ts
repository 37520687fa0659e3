// One interrupt of a lease: an eventfd that the device signals.
import type { Clock } from '../base/clock.js';
import type { EventOs } from '../os/event-types.js';
import type { Fd } from '../os/fd.js';

export class LeaseInterrupt implements Disposable {
  /** Of the lease's vectors, from 0. */
  readonly index: number;
  /**
   * Settles when the device signals it: what fires before is lost. Clients whose device takes no
   * second look for them wait for it before they have it fire. Never rejects.
   */
  readonly bound: Promise<void>;
  readonly #events: EventOs;
  readonly #clock: Clock;
  readonly #fd: Fd;
  #watch: Disposable | undefined;
  #waiters: (() => void)[] = [];
  #bound = false;
  #ended = false;

  /**
   * Takes ownership of `fd`.
   *
   * @param bound - Settles when the device signals `fd`.
   */
  constructor(events: EventOs, clock: Clock, index: number, fd: Fd, bound: Promise<void>) {
    this.#events = events;
    this.#clock = clock;
    this.index = index;
    this.#fd = fd;
    // What fired before the binding was lost: whoever waits by then looks once more.
    this.bound = bound.then(
      () => this.#becomeBound(),
      () => this.end(),
    );
  }

  /**
   * Resolves when the interrupt fired since the last `wait` resolved, when the lease ended, or
   * after `timeoutMs`, whichever is first. May resolve early. Never rejects.
   */
  async wait(timeoutMs: number): Promise<void> {
    if (this.#ended || (this.#bound && this.#events.drain(this.#fd) > 0n)) return;
    // Watching only while somebody waits lets an idle client process exit.
    this.#watch ??= this.#events.watch(this.#fd, () => this.#fire());
    await new Promise<void>((resolve) => {
      const timer = this.#clock.after(timeoutMs, () => {
        this.#waiters = this.#waiters.filter((waiter) => waiter !== done);
        if (this.#waiters.length === 0) this.#stop();
        resolve();
      });
      const done = (): void => {
        timer[Symbol.dispose]();
        resolve();
      };
      this.#waiters.push(done);
    });
  }

  #becomeBound(): void {
    if (this.#ended) return;
    this.#bound = true;
    this.#wakeAll();
  }

  #fire(): void {
    if (this.#ended || this.#events.drain(this.#fd) === 0n) return;
    this.#wakeAll();
  }

  #wakeAll(): void {
    this.#stop();
    for (const waiter of this.#waiters.splice(0)) waiter();
  }

  #stop(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }

  /** Wakes everybody who waits, for good. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#wakeAll();
  }

  [Symbol.dispose](): void {
    this.end();
    this.#fd.close();
  }
}
