// The main thread's half of the invalidation protocol. What was removed from tables may be used
// again once the device acknowledged a later generation, or sleeps. Never a blocking wait.
import type { Clock } from '../../base/clock.js';
import { LessorError } from '../../base/errors.js';
import { generationWord, hasSeen, seenWord, stateAsleep, stateWord, wakeWord } from './control.js';

const spinMs = 0.02;
/** Bounds the spin where the clock stands still. */
const spinCountMax = 4000;

type WaitAsync = (
  words: Int32Array,
  index: number,
  value: number,
) => { readonly async: boolean; readonly value: PromiseLike<string> | string };

// In Node since 16; not yet in TypeScript's library.
const waitAsync = (Atomics as unknown as { readonly waitAsync: WaitAsync }).waitAsync;

/** Callers that share one generation. */
interface Batch {
  generation: number;
  readonly releases: (() => void)[];
  readonly promise: Promise<void>;
  resolve(): void;
  reject(error: unknown): void;
  deadline: Disposable | undefined;
}

const acknowledged = Promise.resolve();

export class Invalidation {
  readonly #words: Int32Array;
  readonly #clock: Clock;
  readonly #deadlineMs: number;
  /** Takes callers until the end of the current turn. */
  #open: Batch | undefined;
  /** Waiting, oldest first. */
  #pending: Batch[] = [];
  #isWaiting = false;

  /** @param deadlineMs - How long a running device may take to acknowledge. */
  constructor(control: SharedArrayBuffer, clock: Clock, deadlineMs: number) {
    this.#words = new Int32Array(control);
    this.#clock = clock;
    this.#deadlineMs = deadlineMs;
  }

  /**
   * Resolves when the device can no longer use what was removed before this call.
   *
   * @param release - Called once at that moment, also when the promise was rejected before.
   * @throws LessorError `DEADLINE_EXCEEDED`: the device must be reset; `workerGone` then releases.
   */
  invalidate(release?: () => void): Promise<void> {
    if (this.acknowledgeNow()) {
      release?.();
      return acknowledged;
    }
    this.#open ??= this.#openBatch();
    if (release !== undefined) this.#open.releases.push(release);
    return this.#open.promise;
  }

  /** True when the device sleeps: then nothing removed before this call is in use any more. */
  acknowledgeNow(): boolean {
    if (!this.#isAsleep()) return false;
    Atomics.add(this.#words, generationWord, 1);
    // Asleep after the bump: it reads the generation before its first translation.
    if (!this.#isAsleep()) return false;
    this.#settle();
    return true;
  }

  /** Resolves when everything removed so far is acknowledged; starts no generation of its own. */
  settled(): Promise<void> {
    return this.#open?.promise ?? this.#pending.at(-1)?.promise ?? acknowledged;
  }

  /** Wakes the worker, or keeps it from its next sleep. */
  wake(): void {
    Atomics.add(this.#words, wakeWord, 1);
    if (this.#isAsleep()) Atomics.notify(this.#words, wakeWord);
  }

  /** The worker has ended, and will not run again with these handles before a new one starts. */
  workerGone(): void {
    Atomics.store(this.#words, stateWord, stateAsleep);
    Atomics.notify(this.#words, seenWord);
    this.#settle();
  }

  #isAsleep(): boolean {
    return Atomics.load(this.#words, stateWord) === stateAsleep;
  }

  #openBatch(): Batch {
    let resolve!: () => void;
    let reject!: (error: unknown) => void;
    const promise = new Promise<void>((onDone, onError) => {
      resolve = onDone;
      reject = onError;
    });
    // Synchronous callers never look at it.
    promise.catch(() => {});
    const batch: Batch = {
      generation: 0,
      releases: [],
      promise,
      resolve,
      reject,
      deadline: undefined,
    };
    queueMicrotask(() => this.#start(batch));
    return batch;
  }

  #start(batch: Batch): void {
    this.#open = undefined;
    batch.generation = (Atomics.add(this.#words, generationWord, 1) + 1) | 0;
    this.#pending.push(batch);
    if (this.#spin(batch.generation)) {
      this.#settle();
      return;
    }
    batch.deadline = this.#clock.after(this.#deadlineMs, () => {
      const detail = `no acknowledgement by the device in ${this.#deadlineMs} ms`;
      batch.reject(new LessorError('DEADLINE_EXCEEDED', detail));
    });
    this.#wait();
  }

  #spin(generation: number): boolean {
    const startMs = this.#clock.nowMs();
    for (let count = 0; count < spinCountMax; count++) {
      if (this.#isDone(generation)) return true;
      if ((count & 15) === 15 && this.#clock.nowMs() - startMs > spinMs) return false;
    }
    return false;
  }

  #isDone(generation: number): boolean {
    return hasSeen(Atomics.load(this.#words, seenWord), generation) || this.#isAsleep();
  }

  #settle(): void {
    while (this.#pending.length > 0 && this.#isDone(this.#pending[0]!.generation)) {
      const batch = this.#pending.shift()!;
      batch.deadline?.[Symbol.dispose]();
      for (const release of batch.releases) release();
      batch.resolve();
    }
  }

  #wait(): void {
    if (this.#isWaiting) return;
    const seen = Atomics.load(this.#words, seenWord);
    this.#settle();
    if (this.#pending.length === 0) return;
    this.#isWaiting = true;
    const again = (): void => {
      this.#isWaiting = false;
      this.#settle();
      this.#wait();
    };
    const result = waitAsync(this.#words, seenWord, seen);
    if (typeof result.value === 'string') queueMicrotask(again);
    else result.value.then(again, again);
  }
}
