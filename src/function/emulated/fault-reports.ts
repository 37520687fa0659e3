// Takes fault reports out of the ring, at a pace: a client that makes its queue fault without end
// must not keep the main thread busy with it.
import type { Clock } from '../../base/clock.js';
import type { FunctionEvent } from '../types.js';
import type { ControlBlock } from './control-block.js';
import { takeDroppedCount, takeFault } from './fault-ring.js';

/** Shortest time between two looks into the ring, which bounds the reports per second. */
const intervalMs = 10;
/** Shortest time between two reports of what was dropped. */
const droppedIntervalMs = 1000;

export class FaultReports implements Disposable {
  readonly #control: ControlBlock;
  readonly #clock: Clock;
  readonly #emit: (event: FunctionEvent) => void;
  #takenMs = Number.NEGATIVE_INFINITY;
  #droppedMs = Number.NEGATIVE_INFINITY;
  #droppedCount = 0;
  #timer: Disposable | undefined;

  constructor(control: ControlBlock, clock: Clock, emit: (event: FunctionEvent) => void) {
    this.#control = control;
    this.#clock = clock;
    this.#emit = emit;
  }

  /** Emits what is in the ring, now or at the end of the interval. */
  take(): void {
    if (this.#timer) return;
    const waitMs = this.#takenMs + intervalMs - this.#clock.nowMs();
    if (waitMs <= 0) {
      this.#takeAll();
      return;
    }
    this.#timer = this.#clock.after(waitMs, () => {
      this.#timer = undefined;
      this.#takeAll();
    });
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  #takeAll(): void {
    const nowMs = this.#clock.nowMs();
    const first = takeFault(this.#control);
    if (first) this.#takenMs = nowMs;
    for (let fault = first; fault; fault = takeFault(this.#control)) {
      this.#emit({ type: 'fault', fault });
    }
    this.#droppedCount += takeDroppedCount(this.#control);
    if (this.#droppedCount === 0 || nowMs < this.#droppedMs + droppedIntervalMs) return;
    this.#droppedMs = nowMs;
    this.#emit({ type: 'error', detail: `${this.#droppedCount} fault reports were dropped` });
    this.#droppedCount = 0;
  }
}
