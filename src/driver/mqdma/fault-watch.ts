// From the error vector to host.fault: reads the pending bitmap, takes each bit, then its record.
import type { Logger } from '../../base/log.js';
import { control, mqdma } from '../../device/mqdma/datasheet.js';
import type { Registers } from '../../function/types.js';
import type { SliceFault } from '../types.js';
import { allOnes } from './queue-registers.js';
import type { QueueSlice } from './queue-slice.js';

export interface FaultWatchParts {
  readonly registers: Registers;
  readonly slices: readonly QueueSlice[];
  readonly report: (slice: QueueSlice, fault: SliceFault) => void;
  readonly log: Logger;
}

export class FaultWatch {
  readonly #parts: FaultWatchParts;
  /** One collection at a time, so that no fault is reported twice. */
  #last: Promise<void> = Promise.resolve();
  #queued = false;

  constructor(parts: FaultWatchParts) {
    this.#parts = parts;
  }

  /** The error vector fired. */
  notice(): void {
    if (this.#queued) return;
    this.#queued = true;
    this.collect().catch((error: unknown) => {
      this.#parts.log.warn('faults could not be read', { error: String(error) });
    });
  }

  /** Reports everything that faulted before this call. */
  collect(): Promise<void> {
    const run = this.#last.then(() => this.#collectAll());
    this.#last = run.catch(() => undefined);
    return run;
  }

  async #collectAll(): Promise<void> {
    this.#queued = false;
    const { registers, slices } = this.#parts;
    for (let word = 0; word * 32 < slices.length; word++) {
      const offset = control.FAULT_PENDING + word * 4;
      const pending = await registers.read32(offset);
      if (pending === 0) continue;
      // Either 32 faults, or a dead function, which reads so everywhere and has none to tell.
      if (pending === allOnes && (await registers.read32(control.ID)) !== mqdma.id) return;
      // Cleared first: a fault that comes while the records are read sets its bit again.
      await registers.write32(offset, pending);
      for (let bit = 0; bit < 32; bit++) {
        const slice = slices[word * 32 + bit];
        if (slice === undefined || (pending & (1 << bit)) === 0) continue;
        const fault = await slice.registers.fault();
        if (fault !== undefined) this.#parts.report(slice, fault);
      }
    }
  }
}
