// Main's side of the mailbox: register access by message, answered by the worker between steps.
// Requests are taken up in order; the answer to one may come after that of a later one.
import type { Clock } from '../../base/clock.js';
import { assert, LessorError } from '../../base/errors.js';
import type { Value, Width } from '../../device/types.js';
import {
  type ControlBlock,
  operation,
  slotCount,
  slotState,
  slotWord,
  slotWords,
} from './control-block.js';
import type { WorkerLink } from './worker-link.js';

export interface MailboxRequest {
  readonly operation: keyof typeof operation;
  readonly region: number;
  readonly offsetBytes: number;
  readonly width: Width;
  readonly value: Value;
}

interface Call {
  readonly request: MailboxRequest;
  readonly resolve: (value: Value) => void;
  readonly reject: (error: Error) => void;
  postedMs: number;
  /** The caller has its answer; the slot still waits for the worker. */
  isAbandoned: boolean;
}

export interface MailboxOptions {
  readonly clock: Clock;
  /** Longest time a request may take before it fails with `DEADLINE_EXCEEDED`. */
  readonly deadlineMs: number;
  /** Called when a request was given up: the device does not answer. */
  readonly onSilence: () => void;
}

export class Mailbox {
  readonly #control: ControlBlock;
  readonly #link: WorkerLink;
  readonly #options: MailboxOptions;
  readonly #calls: (Call | undefined)[] = new Array(slotCount).fill(undefined);
  #waiting: Call[] = [];
  #next = 0;
  #failure: Error | undefined;
  #timer: Disposable | undefined;

  constructor(control: ControlBlock, link: WorkerLink, options: MailboxOptions) {
    this.#control = control;
    this.#link = link;
    this.#options = options;
    link.onNotice(() => this.#collect());
  }

  /**
   * Asks the worker for one register access or a reset.
   *
   * @throws LessorError `FUNCTION_GONE`, `DEADLINE_EXCEEDED`
   */
  call(request: MailboxRequest): Promise<Value> {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      const call: Call = { request, resolve, reject, postedMs: 0, isAbandoned: false };
      const slot = this.#waiting.length === 0 ? this.#post(call) : undefined;
      if (slot === undefined) this.#waiting.push(call);
      else {
        const stateIndex = this.#control.slot(slot) + slotWord.state;
        this.#link.spin(() => Atomics.load(this.#control.words, stateIndex) !== slotState.posted);
        this.#collect();
      }
      this.#watch();
    });
  }

  /** Fails everything under way and, given `permanently`, everything to come. */
  fail(error: LessorError, permanently: boolean): void {
    if (permanently) this.#failure = error;
    const failed = [...this.#calls, ...this.#waiting];
    this.#waiting = [];
    this.#calls.fill(undefined);
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    for (const call of failed) if (call && !call.isAbandoned) call.reject(error);
  }

  /** Empties all slots for a new worker, which starts at the first. No worker may be there. */
  restart(): void {
    assert(!this.#link.isWorkerPresent, 'mailbox restarted under a worker');
    for (let index = 0; index < slotCount; index += 1) {
      const start = this.#control.slot(index);
      this.#control.words.fill(0, start, start + slotWords);
    }
    this.#next = 0;
  }

  #post(call: Call): number | undefined {
    const slot = this.#next;
    if (this.#calls[slot]) return undefined;
    const { words } = this.#control;
    const start = this.#control.slot(slot);
    const { request } = call;
    const value = BigInt.asUintN(64, BigInt(request.value));
    words[start + slotWord.operation] = operation[request.operation];
    words[start + slotWord.region] = request.region;
    words[start + slotWord.width] = request.width;
    words[start + slotWord.offsetLow] = request.offsetBytes | 0;
    words[start + slotWord.offsetHigh] = Math.floor(request.offsetBytes / 2 ** 32);
    words[start + slotWord.valueLow] = Number(value & 0xffff_ffffn) | 0;
    words[start + slotWord.valueHigh] = Number(value >> 32n) | 0;
    call.postedMs = this.#options.clock.nowMs();
    this.#calls[slot] = call;
    this.#next = (slot + 1) % slotCount;
    Atomics.store(words, start + slotWord.state, slotState.posted);
    this.#link.wake();
    return slot;
  }

  /** Takes up answers and posts what waits for a slot. */
  #collect(): void {
    const { words } = this.#control;
    for (let index = 0; index < slotCount; index += 1) {
      const call = this.#calls[index];
      if (!call) continue;
      const start = this.#control.slot(index);
      if (Atomics.load(words, start + slotWord.state) !== slotState.done) continue;
      const low = words[start + slotWord.valueLow]! >>> 0;
      const high = words[start + slotWord.valueHigh]! >>> 0;
      Atomics.store(words, start + slotWord.state, slotState.free);
      this.#calls[index] = undefined;
      const isWide = call.request.width === 8;
      call.resolve(isWide ? (BigInt(high) << 32n) | BigInt(low) : low);
    }
    while (this.#waiting.length > 0 && this.#post(this.#waiting[0]!) !== undefined) {
      this.#waiting.shift();
    }
  }

  /** Keeps one timer for the oldest request under way. */
  #watch(): void {
    if (this.#timer) return;
    const open = this.#calls.filter((call) => call !== undefined && !call.isAbandoned) as Call[];
    if (open.length === 0) return;
    const oldestMs = Math.min(...open.map((call) => call.postedMs));
    const delayMs = oldestMs + this.#options.deadlineMs - this.#options.clock.nowMs();
    this.#timer = this.#options.clock.after(Math.max(delayMs, 0), () => {
      this.#timer = undefined;
      this.#expire();
    });
  }

  #expire(): void {
    this.#collect();
    const beforeMs = this.#options.clock.nowMs() - this.#options.deadlineMs;
    const late = this.#calls.filter(
      (call) => call && !call.isAbandoned && call.postedMs <= beforeMs,
    );
    if (late.length > 0) {
      const error = new LessorError('DEADLINE_EXCEEDED', 'the device does not answer');
      for (const call of [...late, ...this.#waiting]) {
        if (!call) continue;
        call.isAbandoned = true;
        call.reject(error);
      }
      // Never posted: nobody will answer them.
      this.#waiting = [];
      this.#options.onSilence();
    }
    this.#watch();
  }
}
