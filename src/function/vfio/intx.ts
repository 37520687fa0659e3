// INTx: one line, level-triggered, which the kernel masks when it fires. The eventfd behind it is
// ours, so that whoever holds the interrupt needs not know: it is signalled, and the line unmasked.

import type { Clock } from '../../base/clock.js';
import { isLessorError, LessorError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/log.js';
import type { EventOs, EventSignaller } from '../../os/event-types.js';
import type { Fd } from '../../os/fd.js';
import { VFIO_PCI_INTX_IRQ_INDEX } from '../../uapi/vfio.js';
import type { VfioInterrupts } from './interrupts.js';
import { disableIrqs, setTriggers, unmaskIrq } from './interrupts-set.js';
import { checkTarget } from './interrupts-vectors.js';
import { IntxPace } from './intx-pace.js';
import type { VfioDevice } from './types.js';

export interface IntxParts {
  readonly events: EventOs;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * The line is enabled once. While nobody is bound it stays as the kernel left it when it fired,
 * masked, and is unmasked for the next who binds, whom it tells if it is still asserted. A holder
 * that has not yet acknowledged the device may be signalled more than once for one interrupt.
 */
export class IntxInterrupt implements VfioInterrupts {
  readonly kind = 'intx';
  readonly vectorCount = 1;
  readonly #device: VfioDevice;
  readonly #parts: IntxParts;
  readonly #trigger: Fd;
  readonly #signaller: EventSignaller;
  readonly #pace = new IntxPace({
    perSecondMax: limits.intxUnmasksPerSecondMax,
    pauseMsMax: limits.intxPauseMsMax,
  });
  #watch: Disposable | undefined;
  #target: Fd | undefined;
  #isMasked = false;
  /** An unmask that is due, or under way. */
  #pending: Disposable | 'under way' | undefined;
  #disposing: Promise<void> | undefined;

  private constructor(device: VfioDevice, parts: IntxParts) {
    this.#device = device;
    this.#parts = parts;
    this.#trigger = parts.events.createEventFd();
    try {
      this.#signaller = parts.events.createSignaller();
    } catch (error) {
      this.#trigger.close();
      throw error;
    }
  }

  /** @throws OsError `EBUSY`: the device cannot share its line and somebody else is on it */
  static async enable(device: VfioDevice, parts: IntxParts): Promise<IntxInterrupt> {
    const line = new IntxInterrupt(device, parts);
    try {
      line.#watch = parts.events.watch(line.#trigger, () => line.#onReadable());
      await setTriggers(device, VFIO_PCI_INTX_IRQ_INDEX, 0, [line.#trigger.number]);
      return line;
    } catch (error) {
      line.#close();
      throw error;
    }
  }

  async bind(vector: number, target: Fd | undefined): Promise<void> {
    try {
      checkTarget(this.#parts.events, vector, this.vectorCount, target);
      if (this.#disposing !== undefined) {
        throw new LessorError('FUNCTION_GONE', 'the interrupt was given up');
      }
    } catch (error) {
      target?.close();
      throw error;
    }
    // Signals come from this thread alone: none can be under way here.
    this.#target?.close();
    this.#target = target;
    this.#schedule();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#dispose();
    return this.#disposing;
  }

  async #dispose(): Promise<void> {
    try {
      await disableIrqs(this.#device, VFIO_PCI_INTX_IRQ_INDEX);
    } catch (error) {
      // With the device's descriptor closed, the kernel has let go of everything.
      if (!isLessorError(error, 'FUNCTION_GONE')) throw error;
    } finally {
      this.#close();
    }
  }

  #close(): void {
    if (this.#pending !== 'under way') this.#pending?.[Symbol.dispose]();
    this.#watch?.[Symbol.dispose]();
    this.#trigger.close();
    this.#signaller[Symbol.dispose]();
    this.#target?.close();
    this.#target = undefined;
  }

  #onReadable(): void {
    if (this.#parts.events.drain(this.#trigger) === 0n) return;
    this.#isMasked = true;
    if (this.#target !== undefined) this.#signaller.signal(this.#target.number);
    this.#schedule();
  }

  #schedule(): void {
    const isWanted = this.#isMasked && this.#target !== undefined;
    if (!isWanted || this.#pending !== undefined || this.#disposing !== undefined) return;
    const { clock } = this.#parts;
    const delayMs = this.#pace.delayMs(clock.nowMs());
    if (delayMs === 0) void this.#unmask();
    else this.#pending = clock.after(delayMs, () => void this.#unmask());
  }

  async #unmask(): Promise<void> {
    const { clock, log } = this.#parts;
    this.#pending = 'under way';
    this.#isMasked = false;
    try {
      await unmaskIrq(this.#device, VFIO_PCI_INTX_IRQ_INDEX);
    } catch (error) {
      // It stays masked until somebody binds again; a device that is gone tells by its own event.
      this.#isMasked = true;
      this.#pending = undefined;
      if (this.#disposing === undefined) {
        log.warn('INTx could not be unmasked', { error: String(error) });
      }
      return;
    }
    if (this.#disposing !== undefined) return;
    // A line that is still asserted fired before the call returned.
    this.#onReadable();
    this.#pace.unmasked(clock.nowMs(), this.#isMasked);
    this.#pending = undefined;
    this.#schedule();
  }
}
