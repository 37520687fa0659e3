// Which eventfd each vector fires. Owns the bound descriptors: one is closed only after the worker
// cannot be signalling it any more.
import { LessorError } from '../../base/errors.js';
import { toCount } from '../../base/units.js';
import type { EventOs } from '../../os/event-types.js';
import type { Fd } from '../../os/fd.js';
import type { ControlBlock } from './control-block.js';
import type { WorkerLink } from './worker-link.js';

export class VectorTable {
  readonly #control: ControlBlock;
  readonly #link: WorkerLink;
  readonly #events: EventOs;
  readonly #bound: (Fd | undefined)[];

  constructor(control: ControlBlock, link: WorkerLink, events: EventOs) {
    this.#control = control;
    this.#link = link;
    this.#events = events;
    this.#bound = new Array(control.vectors.length).fill(undefined);
  }

  /**
   * Binds `target`, of which it takes ownership in every outcome, or unbinds the vector.
   *
   * @throws LessorError `INVALID_ARGUMENT` for a vector the function lacks, `FD_REFUSED` for what
   *   is not an eventfd.
   */
  async set(vector: number, target: Fd | undefined): Promise<void> {
    try {
      toCount(vector, 'vector', this.#bound.length - 1);
      if (target && !this.#events.isEventFd(target)) {
        throw new LessorError('FD_REFUSED', `vector ${vector} takes an eventfd`);
      }
    } catch (error) {
      target?.close();
      throw error;
    }
    const previous = this.#bound[vector];
    this.#bound[vector] = target;
    Atomics.store(this.#control.vectors, vector, target ? target.number : -1);
    if (!previous) return;
    await this.#link.barrier();
    previous.close();
  }

  /** Unbinds and closes all. Call when there is no worker. */
  closeAll(): void {
    this.#control.vectors.fill(-1);
    for (const fd of this.#bound) fd?.close();
    this.#bound.fill(undefined);
  }
}
