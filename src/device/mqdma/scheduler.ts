// Which queue has the next turn. Queues that work are looked at in every step, in turn; the
// others a few per step, so that a thousand idle tenants do not slow one down.
import { hasWork, isWaiting } from './doorbell.js';
import type { QueueState } from './queue-state.js';

/** Up to so many enabled queues are all looked at in every step. */
const hotAlways = 16;
/** Cold queues looked at in one step. */
const coldPerStep = 8;
/** Empty looks in a row after which a queue turns cold. */
const idleStepsMax = 1024;

export interface TurnEngine {
  /** Gives a queue its turn. @returns False when there was nothing to do. */
  turn(queue: QueueState): boolean;
}

function removeAt(list: QueueState[], index: number): void {
  const last = list.pop()!;
  if (index < list.length) list[index] = last;
}

export class Scheduler {
  readonly #engine: TurnEngine;
  readonly #hot: QueueState[] = [];
  readonly #cold: QueueState[] = [];
  #hotNext = 0;
  #coldNext = 0;

  constructor(engine: TurnEngine) {
    this.#engine = engine;
  }

  /** Looks at a queue from now on. */
  add(queue: QueueState): void {
    if (this.#hot.includes(queue)) return;
    const cold = this.#cold.indexOf(queue);
    if (cold >= 0) removeAt(this.#cold, cold);
    queue.idleSteps = 0;
    this.#hot.push(queue);
  }

  clear(): void {
    this.#hot.length = 0;
    this.#cold.length = 0;
  }

  /** One turn of the next queue that has something to do. @returns True when one had. */
  step(): boolean {
    const warmed = this.#cold.length > 0 && this.#lookAtCold();
    return this.#hotTurn() || warmed;
  }

  #hotTurn(): boolean {
    for (let looked = this.#hot.length; looked > 0; looked--) {
      if (this.#hotNext >= this.#hot.length) this.#hotNext = 0;
      const queue = this.#hot[this.#hotNext]!;
      this.#hotNext++;
      if (this.#engine.turn(queue)) {
        queue.idleSteps = 0;
        return true;
      }
      if (++queue.idleSteps > idleStepsMax) this.#cool(queue);
    }
    return false;
  }

  /** Moves an idle queue out of the way, and a disabled one out altogether. */
  #cool(queue: QueueState): void {
    queue.idleSteps = 0;
    if (isWaiting(queue)) return;
    if (queue.enabled && this.#hot.length + this.#cold.length <= hotAlways) return;
    this.#hotNext--;
    removeAt(this.#hot, this.#hotNext);
    if (queue.enabled) this.#cold.push(queue);
  }

  #lookAtCold(): boolean {
    let found = false;
    for (let looked = Math.min(coldPerStep, this.#cold.length); looked > 0; looked--) {
      if (this.#coldNext >= this.#cold.length) this.#coldNext = 0;
      const queue = this.#cold[this.#coldNext]!;
      if (!queue.enabled || hasWork(queue, 0)) {
        removeAt(this.#cold, this.#coldNext);
        queue.idleSteps = 0;
        this.#hot.push(queue);
        found = true;
      } else {
        this.#coldNext++;
      }
      if (this.#cold.length === 0) break;
    }
    return found;
  }

  /** Looked at in every step. */
  get hot(): readonly QueueState[] {
    return this.#hot;
  }

  /** Looked at now and then. */
  get cold(): readonly QueueState[] {
    return this.#cold;
  }

  /** True when any queue has something to do now. */
  anyWork(nowMs: number): boolean {
    return (
      this.#hot.some((queue) => hasWork(queue, nowMs)) ||
      this.#cold.some((queue) => hasWork(queue, nowMs))
    );
  }

  /** When the next delayed operation is due; Infinity: none. `parked` counts as no time. */
  nextDueMs(): number {
    let due = Number.POSITIVE_INFINITY;
    for (const queue of this.#hot)
      if (queue.busy && queue.dueMs > 0) due = Math.min(due, queue.dueMs);
    return due;
  }

  get anyWaiting(): boolean {
    return this.#hot.some(isWaiting);
  }
}
