// MSI and MSI-X: message interrupts, every vector on its own, straight from the kernel's handler to
// the holder's eventfd. Nothing of this process stands between.
import { isLessorError, LessorError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { Serial } from '../../base/serial.js';
import type { EventOs } from '../../os/event-types.js';
import type { Fd } from '../../os/fd.js';
import { VFIO_PCI_MSIX_IRQ_INDEX } from '../../uapi/vfio.js';
import type { VfioInterrupts } from './interrupts.js';
import { disableIrqs, noEventFd, setTriggers } from './interrupts-set.js';
import type { VfioDevice } from './types.js';

/**
 * Enables as many vectors as the system can give, up to `count`.
 *
 * @param idle - What each of them rings.
 * @returns How many.
 * @throws OsError when there is none to be had
 */
async function enableVectors(
  device: VfioDevice,
  index: number,
  count: number,
  idle: number,
): Promise<number> {
  let wanted = Math.min(count, limits.vectorsPerLeaseMax);
  for (;;) {
    const given = await setTriggers(device, index, 0, new Array<number>(wanted).fill(idle));
    if (given === 0) return wanted;
    // Told how many there are, of which others may take some before we ask again.
    wanted = Math.min(given, wanted - 1);
    if (wanted === 0) return 0;
  }
}

/**
 * What a vector rings that is bound to nobody. One of MSI-X is masked then, and takes nothing from
 * the system. MSI often cannot be masked: the kernel clears the address of its message instead, and
 * the device, still enabled, would write to address 0 whenever it fires. So it goes on to ring.
 *
 * @see linux kernel/irq/msi.c `msi_domain_deactivate`
 */
function idleNumber(index: number, sink: Fd): number {
  return index === VFIO_PCI_MSIX_IRQ_INDEX ? noEventFd : sink.number;
}

interface VectorParts {
  readonly device: VfioDevice;
  readonly events: EventOs;
  readonly index: number;
  readonly sink: Fd;
}

/**
 * The whole range is enabled once and for all, for in most devices and kernels it cannot grow while
 * it is enabled; binding is a swap of one vector. A reset of the function leaves it all as it is:
 * the kernel writes its addresses to the device again.
 *
 * @see linux drivers/vfio/pci/vfio_pci_intrs.c, drivers/pci/msi/msi.c `__pci_restore_msix_state`
 */
export class VectorInterrupts implements VfioInterrupts {
  readonly #device: VfioDevice;
  readonly #events: EventOs;
  readonly #index: number;
  readonly #bound: (Fd | undefined)[];
  readonly #order = new Serial();
  /** Rings for nobody. */
  readonly #sink: Fd;
  #disposing: Promise<void> | undefined;

  private constructor(parts: VectorParts, count: number) {
    const { device, events, index, sink } = parts;
    this.#device = device;
    this.#sink = sink;
    this.#events = events;
    this.#index = index;
    this.#bound = new Array<Fd | undefined>(count).fill(undefined);
  }

  /**
   * @param count - As `VfioIrq` says.
   * @returns undefined when there is no vector to be had. @throws OsError
   */
  static async enable(
    device: VfioDevice,
    events: EventOs,
    index: number,
    count: number,
  ): Promise<VectorInterrupts | undefined> {
    const sink = events.createEventFd();
    try {
      const enabled = await enableVectors(device, index, count, idleNumber(index, sink));
      if (enabled > 0) return new VectorInterrupts({ device, events, index, sink }, enabled);
    } catch (error) {
      sink.close();
      throw error;
    }
    sink.close();
    return undefined;
  }

  get #idle(): number {
    return idleNumber(this.#index, this.#sink);
  }

  get kind(): 'msi-x' | 'msi' {
    return this.#index === VFIO_PCI_MSIX_IRQ_INDEX ? 'msi-x' : 'msi';
  }

  get vectorCount(): number {
    return this.#bound.length;
  }

  async bind(vector: number, target: Fd | undefined): Promise<void> {
    try {
      checkTarget(this.#events, vector, this.vectorCount, target);
    } catch (error) {
      target?.close();
      throw error;
    }
    await this.#order.run(() => this.#swap(vector, target));
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#order.run(() => this.#dispose());
    return this.#disposing;
  }

  async #swap(vector: number, target: Fd | undefined): Promise<void> {
    if (this.#disposing !== undefined) {
      target?.close();
      throw new LessorError('FUNCTION_GONE', 'the interrupts were given up');
    }
    const previous = this.#bound[vector];
    if (target === undefined && previous === undefined) return;
    try {
      // A message that came while the vector was masked was kept, by the device or the kernel, and
      // is delivered to whoever binds first: not to one whom it does not concern.
      const wasMasked = previous === undefined && this.#idle === noEventFd;
      if (wasMasked) await this.#ring(vector, this.#sink);
      await this.#ring(vector, target);
    } catch (error) {
      target?.close();
      // What it rings now is not known; an unbind that fails leaves it at that.
      if (target !== undefined) await this.#ring(vector, undefined);
      else throw error;
      this.#bound[vector] = undefined;
      previous?.close();
      throw error;
    }
    this.#bound[vector] = target;
    previous?.close();
  }

  async #ring(vector: number, target: Fd | undefined): Promise<void> {
    await setTriggers(this.#device, this.#index, vector, [target?.number ?? this.#idle]);
  }

  async #dispose(): Promise<void> {
    try {
      await disableIrqs(this.#device, this.#index);
    } catch (error) {
      // With the device's descriptor closed, the kernel has let go of everything.
      if (!isLessorError(error, 'FUNCTION_GONE')) throw error;
    } finally {
      for (const fd of this.#bound.splice(0)) fd?.close();
      this.#sink.close();
    }
  }
}

/**
 * @throws LessorError `INVALID_ARGUMENT` for a vector the function lacks, `FD_REFUSED` for what is
 *   not an eventfd
 */
export function checkTarget(
  events: EventOs,
  vector: number,
  vectorCount: number,
  target: Fd | undefined,
): void {
  if (!Number.isInteger(vector) || vector < 0 || vector >= vectorCount) {
    throw new LessorError('INVALID_ARGUMENT', `vector ${vector} of ${vectorCount}`);
  }
  if (target !== undefined && !events.isEventFd(target)) {
    throw new LessorError('FD_REFUSED', `vector ${vector} takes an eventfd`);
  }
}
