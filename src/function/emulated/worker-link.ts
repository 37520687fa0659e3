// Main's side of the wake-ups between main and worker: waking the worker, hearing its notices, and
// waiting until it works with the newest tables.
import type { Clock } from '../../base/clock.js';
import { Listeners } from '../../base/listeners.js';
import { type ControlBlock, isAtOrAfter, word, workerState } from './control-block.js';
import { waitForChange } from './wait-async.js';

/** Longest time that main spins for an answer before it waits in its event loop. */
const spinMillis = 0.02;
/** Bounds the spin where the clock stands still. */
const spinCountMax = 10_000;

function macrotask(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

interface BarrierWaiter {
  readonly generation: number;
  readonly resolve: () => void;
}

export class WorkerLink {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #clock: Clock;
  readonly #wakeSleeper: () => void;
  readonly #notices = new Listeners<void>();
  #waiters: BarrierWaiter[] = [];
  #isClosed = false;

  /** @param wakeSleeper - Wakes a worker that sleeps; must not be lost before it sleeps. */
  constructor(control: ControlBlock, clock: Clock, wakeSleeper: () => void) {
    this.#words = control.words;
    this.#clock = clock;
    this.#wakeSleeper = wakeSleeper;
    void this.#listen();
  }

  /** True while there is a thread that could touch windows and interrupts. */
  get isWorkerPresent(): boolean {
    return Atomics.load(this.#words, word.state) !== workerState.absent;
  }

  /** Makes a sleeping worker look at the control block. Cheap while it runs. */
  wake(): void {
    const state = Atomics.load(this.#words, word.state);
    if (state === workerState.asleep) this.#wakeSleeper();
    if (state !== workerState.turning) return;
    Atomics.add(this.#words, word.wake, 1);
    Atomics.notify(this.#words, word.wake);
  }

  /** Makes the device look at its frames, also when it is only about to sleep. */
  kick(): void {
    this.#wakeSleeper();
    this.wake();
  }

  /** Calls back after the worker finished requests, reported faults or saw memory vanish. */
  onNotice(listener: () => void): Disposable {
    return this.#notices.add(listener);
  }

  /** Spins a moment until `isDone`, without notifications. @returns The last answer of it. */
  spin(isDone: () => boolean): boolean {
    if (isDone()) return true;
    if (Atomics.load(this.#words, word.state) !== workerState.running) return false;
    Atomics.store(this.#words, word.mainSpins, 1);
    const endMs = this.#clock.nowMs() + spinMillis;
    let done = false;
    let count = 0;
    do {
      done = isDone();
      count += 1;
    } while (!done && count < spinCountMax && this.#clock.nowMs() < endMs);
    Atomics.store(this.#words, word.mainSpins, 0);
    // What came meanwhile was not notified.
    this.#deliver();
    return done || isDone();
  }

  /**
   * Resolves when the worker can no longer use what the tables held before this call. A sleeping
   * or absent worker counts at once: it reads the tables anew before it does anything.
   */
  barrier(): Promise<void> {
    const generation = (Atomics.add(this.#words, word.barrier, 1) + 1) | 0;
    if (this.spin(() => this.#isSeen(generation))) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push({ generation, resolve });
      this.#settleBarriers();
    });
  }

  /** To be called once the worker's thread is gone, whatever ended it. */
  workerEnded(): void {
    Atomics.store(this.#words, word.state, workerState.absent);
    this.#deliver();
  }

  /** Ends the wait for notices. */
  close(): void {
    this.#isClosed = true;
    Atomics.add(this.#words, word.notice, 1);
    Atomics.notify(this.#words, word.notice);
  }

  async #listen(): Promise<void> {
    while (!this.#isClosed) {
      const seen = Atomics.load(this.#words, word.notice);
      this.#deliver();
      // Notices that never end must not keep everybody else from their turn.
      await (waitForChange(this.#words, word.notice, seen) ?? macrotask());
    }
  }

  #deliver(): void {
    this.#settleBarriers();
    this.#notices.emit();
  }

  #settleBarriers(): void {
    if (this.#waiters.length === 0) return;
    const over = this.#waiters.filter((waiter) => this.#isSeen(waiter.generation));
    this.#waiters = this.#waiters.filter((waiter) => !over.includes(waiter));
    for (const waiter of over) waiter.resolve();
  }

  #isSeen(generation: number): boolean {
    const state = Atomics.load(this.#words, word.state);
    if (state === workerState.absent || state === workerState.asleep) return true;
    return isAtOrAfter(Atomics.load(this.#words, word.barrierSeen), generation);
  }
}
