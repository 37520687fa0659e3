// The vectors of one lease: which eventfd of the holder stands behind which vector.
import { LessorError } from '../base/errors.js';
import { Serial } from '../base/serial.js';
import type { PciFunction } from '../function/types.js';
import type { EventOs, EventSignaller } from '../os/event-types.js';
import { closeAll, type Fd } from '../os/fd.js';

export class LeaseInterrupts {
  readonly #fn: PciFunction;
  readonly #events: EventOs;
  readonly #vectors: readonly number[];
  readonly #bound = new Set<number>();
  #request: Fd | undefined;
  #closed = false;
  readonly #order = new Serial();

  constructor(fn: PciFunction, events: EventOs, vectors: readonly number[]) {
    this.#fn = fn;
    this.#events = events;
    this.#vectors = vectors;
  }

  get count(): number {
    return this.#vectors.length;
  }

  /**
   * Binds eventfds to vectors from `start` on. Owns `fds` in every outcome.
   *
   * @throws LessorError `FD_REFUSED` when one is not an eventfd; none is bound then.
   */
  async bind(start: number, fds: readonly Fd[]): Promise<void> {
    if (this.#closed || fds.some((fd) => !this.#events.isEventFd(fd))) {
      closeAll(fds);
      throw this.#closed
        ? new LessorError('LEASE_ENDED', 'interrupts are disarmed')
        : new LessorError('FD_REFUSED', 'an interrupt target is not an eventfd');
    }
    await this.#order.run(async () => {
      const rest = [...fds];
      try {
        for (let index = 0; rest.length > 0; index += 1) {
          const fd = rest.shift() as Fd;
          await this.#set(start + index, fd);
        }
      } finally {
        closeAll(rest);
      }
    });
  }

  unbind(start: number, count: number): Promise<void> {
    return this.#order.run(async () => {
      for (let index = start; index < start + count; index += 1) await this.#set(index, undefined);
    });
  }

  /** The eventfd that announces a revoke; owned here. */
  bindRequest(fd: Fd | undefined): void {
    if (fd !== undefined && !this.#events.isEventFd(fd)) {
      fd.close();
      throw new LessorError('FD_REFUSED', 'the request interrupt takes an eventfd');
    }
    this.#request?.close();
    this.#request = fd;
  }

  /** Tells the holder that its lease is about to be taken back. */
  signalRequest(signaller: EventSignaller): void {
    if (this.#request !== undefined) signaller.signal(this.#request.number);
  }

  /** Fires bound eventfds, as a holder's test of the path. */
  trigger(signaller: EventSignaller, indexes: readonly number[], isRequest: boolean): void {
    if (isRequest) {
      if (indexes.length > 0) this.signalRequest(signaller);
      return;
    }
    // The device's side fires vectors; only it knows what is bound there.
    throw new LessorError('UNSUPPORTED', 'only the device fires the vectors of a lease');
  }

  /** Unbinds every vector; resolves when no signal can be under way. Idempotent. */
  async disarm(): Promise<void> {
    this.#closed = true;
    await this.#order.run(async () => {
      await Promise.all([...this.#bound].map((index) => this.#set(index, undefined)));
    });
    this.#request?.close();
    this.#request = undefined;
  }

  async #set(index: number, fd: Fd | undefined): Promise<void> {
    if (fd === undefined && !this.#bound.has(index)) return;
    const vector = this.#vectors[index];
    if (vector === undefined) {
      fd?.close();
      throw new LessorError('INVALID_ARGUMENT', `no vector ${index}`);
    }
    if (fd === undefined) this.#bound.delete(index);
    else this.#bound.add(index);
    await this.#fn.setInterrupt(vector, fd);
  }
}
