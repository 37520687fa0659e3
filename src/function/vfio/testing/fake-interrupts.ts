// A VFIO device as far as its interrupts go: what VFIO_DEVICE_SET_IRQS does in the kernel, with
// real eventfds.

import type { Errno } from '../../../base/errno.js';
import { LessorError, OsError } from '../../../base/errors.js';
import { Fd } from '../../../os/fd.js';
import { createOs } from '../../../os/index.js';
import { loadNative } from '../../../os/native.js';
import {
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_INFO_AUTOMASKED,
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_IRQ_INFO_MASKABLE,
  VFIO_IRQ_INFO_NORESIZE,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  vfioIrqSet,
} from '../../../uapi/vfio.js';
import type { VfioDevice, VfioIrq } from '../types.js';

/** How many vectors of an index there are, and how many the system will give. */
export interface FakeIrq {
  readonly index: number;
  readonly count: number;
  /** Absent: all. Fewer: enabling more answers with it. 0: ENOSPC. */
  readonly available?: number;
}

export class FakeInterrupts implements VfioDevice {
  readonly address = '0000:00:05.0';
  readonly #realOs = createOs();
  readonly os = this.#realOs.ioctl;
  readonly canReset = true;
  readonly regions = new Map();
  readonly irqs: ReadonlyMap<number, VfioIrq>;
  readonly #given: readonly FakeIrq[];
  readonly #signaller = this.#realOs.events.createSignaller();
  /** What the kernel refers to: descriptors of its own. */
  readonly #triggers = new Map<number, Fd>();
  #enabled: { readonly index: number; readonly count: number } | undefined;
  #failures: Errno[] = [];
  #isMasked = false;
  readonly #kept = new Set<number>();
  /** The level of INTx. */
  isAsserted = false;
  /** The device's descriptor was closed. */
  isGone = false;
  unmaskCount = 0;
  callCount = 0;
  /** Messages of MSI without a trigger: written to address 0, as memory. */
  strayWriteCount = 0;

  constructor(given: readonly FakeIrq[]) {
    this.#given = given;
    this.irqs = new Map(
      given.map(({ index, count }) => [index, { index, count, flags: flagsOf(index) }]),
    );
  }

  get fd(): Fd {
    throw new LessorError('UNSUPPORTED', 'there is no file');
  }

  get enabledCount(): number {
    return this.#enabled?.count ?? 0;
  }

  get boundVectors(): number[] {
    return [...this.#triggers.keys()].sort((left, right) => left - right);
  }

  /** The next calls fail, with the vectors they name left without a trigger. */
  failNext(...failures: readonly Errno[]): void {
    this.#failures.push(...failures);
  }

  /** The device sends the message of a vector. One of MSI-X that nobody takes is kept. */
  fire(vector: number): void {
    const fd = this.#triggers.get(vector);
    if (fd !== undefined) this.#signaller.signal(fd.number);
    else if (this.#enabled?.index === VFIO_PCI_MSI_IRQ_INDEX) this.strayWriteCount += 1;
    else this.#kept.add(vector);
  }

  /** The device asserts its line, which fires unless it is masked. */
  assertLine(): void {
    this.isAsserted = true;
    this.#fireLine();
  }

  async call(name: string, request: number, argument: Uint8Array): Promise<number> {
    if (request !== VFIO_DEVICE_SET_IRQS) throw new OsError('ENOTTY', 'ioctl', name);
    await Promise.resolve();
    this.callCount += 1;
    if (this.isGone) throw new LessorError('FUNCTION_GONE', 'closed');
    return this.#setIrqs(argument);
  }

  [Symbol.dispose](): void {
    for (const vector of this.boundVectors) this.#release(vector);
    this.#signaller[Symbol.dispose]();
  }

  #setIrqs(argument: Uint8Array): number {
    const { flags, index, start, count } = vfioIrqSet.decodeAt(argument, 0);
    const there = this.#given.find((irq) => irq.index === index)?.count ?? 0;
    if (start >= there || start + count > there) throw new OsError('EINVAL', 'ioctl');
    if ((flags & VFIO_IRQ_SET_ACTION_UNMASK) !== 0) return this.#unmask(index);
    if ((flags & VFIO_IRQ_SET_ACTION_TRIGGER) === 0) throw new OsError('ENOTTY', 'ioctl');
    if ((flags & VFIO_IRQ_SET_DATA_NONE) !== 0 && count === 0) return this.#disable(index);
    if ((flags & VFIO_IRQ_SET_DATA_EVENTFD) === 0) throw new OsError('EINVAL', 'ioctl');
    const data = new DataView(argument.buffer, argument.byteOffset + vfioIrqSet.sizeBytes);
    const fds = Array.from({ length: count }, (_, at) => data.getInt32(at * 4, true));
    return this.#setTriggers(index, start, fds);
  }

  #setTriggers(index: number, start: number, fds: readonly number[]): number {
    if (this.#enabled === undefined) {
      const available = this.#given.find((irq) => irq.index === index)?.available;
      if (available === 0) throw new OsError('ENOSPC', 'ioctl');
      if (available !== undefined && available < start + fds.length) return available;
      this.#enabled = { index, count: start + fds.length };
    }
    if (this.#enabled.index !== index) throw new OsError('EINVAL', 'ioctl');
    const failure = this.#failures.shift();
    const native = loadNative();
    for (const [at, number] of fds.entries()) {
      const vector = start + at;
      this.#release(vector);
      if (failure !== undefined || number < 0) continue;
      if (vector >= this.#enabled.count) throw new OsError('EINVAL', 'ioctl');
      this.#triggers.set(vector, new Fd(native, native.duplicate(number)));
      if (this.#kept.delete(vector)) this.fire(vector);
    }
    if (failure !== undefined) throw new OsError(failure, 'ioctl');
    return 0;
  }

  #disable(index: number): number {
    if (this.#enabled?.index !== index) throw new OsError('EINVAL', 'ioctl');
    for (const vector of this.boundVectors) this.#release(vector);
    this.#enabled = undefined;
    return 0;
  }

  #release(vector: number): void {
    this.#triggers.get(vector)?.close();
    this.#triggers.delete(vector);
  }

  #unmask(index: number): number {
    if (index !== VFIO_PCI_INTX_IRQ_INDEX || this.#enabled?.index !== index) {
      throw new OsError('EINVAL', 'ioctl');
    }
    const failure = this.#failures.shift();
    if (failure !== undefined) throw new OsError(failure, 'ioctl');
    this.unmaskCount += 1;
    this.#isMasked = false;
    if (this.isAsserted) this.#fireLine();
    return 0;
  }

  #fireLine(): void {
    if (this.#isMasked) return;
    this.#isMasked = true;
    this.fire(0);
  }
}

function flagsOf(index: number): number {
  return index === VFIO_PCI_INTX_IRQ_INDEX
    ? VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED
    : VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE;
}
