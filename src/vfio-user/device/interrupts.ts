// The interrupts of a served device: which eventfd stands behind which, and when it is signalled.
import { LessorError } from '../../base/errors.js';
import type { ConfigSpace } from '../../device/config-space.js';
import type { DeviceConfig } from '../../device/types.js';
import type { EventOs, EventSignaller } from '../../os/event-types.js';
import { closeAll, type Fd } from '../../os/fd.js';
import {
  VFIO_IRQ_INFO_AUTOMASKED,
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_IRQ_INFO_MASKABLE,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_NUM_IRQS,
} from '../../uapi/vfio.js';
import type { EndpointIrq, IrqChange } from '../endpoint.js';
import { IntxPin } from './intx-pin.js';
import { MsixTable } from './msix-table.js';
import { VectorState } from './vector-state.js';

/** What a client sees of a device's interrupts, by index. */
export function shownIrqs(config: DeviceConfig): EndpointIrq[] {
  const maskable = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE;
  const irqs: EndpointIrq[] = Array.from({ length: VFIO_PCI_NUM_IRQS }, () => ({
    count: 0,
    flags: VFIO_IRQ_INFO_EVENTFD,
  }));
  const intxCount = config.intx === true ? 1 : 0;
  irqs[VFIO_PCI_INTX_IRQ_INDEX] = { count: intxCount, flags: maskable | VFIO_IRQ_INFO_AUTOMASKED };
  irqs[VFIO_PCI_MSI_IRQ_INDEX] = { count: config.msiVectorCount ?? 0, flags: maskable };
  const msixCount = config.msix === undefined ? 0 : config.vectorCount;
  irqs[VFIO_PCI_MSIX_IRQ_INDEX] = { count: msixCount, flags: maskable };
  // Never fires. QEMU warns its users of a device without it.
  irqs[VFIO_PCI_ERR_IRQ_INDEX] = { count: 1, flags: VFIO_IRQ_INFO_EVENTFD };
  return irqs;
}

/** The eventfds of one index. Owns them. */
class BoundIndex {
  readonly fds: (Fd | undefined)[];
  boundCount = 0;

  constructor(count: number) {
    this.fds = new Array(count).fill(undefined);
  }

  set(vector: number, fd: Fd | undefined): void {
    const old = this.fds[vector];
    this.fds[vector] = fd;
    this.boundCount += (fd === undefined ? 0 : 1) - (old === undefined ? 0 : 1);
    old?.close();
  }

  clear(): void {
    if (this.boundCount === 0) return;
    for (let vector = 0; vector < this.fds.length; vector++) this.set(vector, undefined);
  }
}

export class Interrupts {
  readonly irqs: readonly EndpointIrq[];
  readonly table: MsixTable;
  readonly pin: IntxPin;
  readonly msix: VectorState;
  readonly msi: VectorState;
  readonly #config: ConfigSpace;
  readonly #events: EventOs;
  readonly #signaller: EventSignaller;
  readonly #bound: readonly BoundIndex[];

  /** @param signaller - Not owned. */
  constructor(
    device: DeviceConfig,
    config: ConfigSpace,
    events: EventOs,
    signaller: EventSignaller,
  ) {
    this.irqs = shownIrqs(device);
    this.#config = config;
    this.#events = events;
    this.#signaller = signaller;
    this.#bound = this.irqs.map(({ count }) => new BoundIndex(count));
    this.table = new MsixTable(this.#countOf(VFIO_PCI_MSIX_IRQ_INDEX));
    this.pin = new IntxPin(this.#pinGate(), () => this.#signal(VFIO_PCI_INTX_IRQ_INDEX, 0));
    this.msix = this.#vectors(
      VFIO_PCI_MSIX_IRQ_INDEX,
      // A VM monitor binds a vector when its guest first unmasks it: until then it is masked.
      (vector) =>
        config.msixMasked ||
        this.table.isMasked(vector) ||
        this.#bound[VFIO_PCI_MSIX_IRQ_INDEX]!.fds[vector] === undefined,
    );
    this.msi = this.#vectors(
      VFIO_PCI_MSI_IRQ_INDEX,
      (vector) => ((config.msiMask >>> vector) & 1) !== 0,
    );
  }

  /** The device fires a vector of MSI-X, or else of MSI. */
  fire(vector: number): void {
    if (this.#isMsixOn) this.msix.fire(vector);
    else if (this.#isMsiOn) {
      // With fewer vectors allotted than there are, the low bits decide, as in the MSI message.
      const isAllotted = this.#config.msiEnabled;
      this.msi.fire(isAllotted ? vector & (this.#config.msiAllotted - 1) : vector);
      this.#publishMsi();
    }
  }

  /** The device drives its INTx pin. */
  setIntx(isHigh: boolean): void {
    this.#config.intxStatus = isHigh;
    this.pin.setLevel(isHigh);
  }

  /** The pending bits of MSI-X, as the PBA shows them. */
  pendingBits(offsetBytes: number, lengthBytes: number): Uint8Array {
    const bytes = new Uint8Array(lengthBytes);
    const first = offsetBytes * 8;
    const end = Math.min(first + lengthBytes * 8, this.msix.count);
    for (let vector = first; vector < end; vector++) {
      if (!this.msix.isPending(vector)) continue;
      bytes[(vector - first) >> 3]! |= 1 << (vector & 7);
    }
    return bytes;
  }

  writeTable(offsetBytes: number, data: Uint8Array): void {
    this.table.write(offsetBytes, data);
    this.msix.update();
  }

  /** Registers of the configuration space changed: what they held back may go. */
  configChanged(): void {
    this.msix.update();
    this.msi.update();
    this.#publishMsi();
    this.pin.update();
  }

  /**
   * What SET_IRQS asks for. Takes ownership of the descriptors in every outcome.
   *
   * @throws LessorError `FD_REFUSED` when one is no eventfd; nothing is bound then.
   */
  change(change: IrqChange): void {
    switch (change.action) {
      case 'bind':
        this.#bind(change.index, change.start, change.fds);
        break;
      case 'unbind':
        this.#unbind(change.index, change.start, change.count);
        break;
      case 'disable':
        this.#unbind(change.index, 0, this.#countOf(change.index));
        this.#stateOf(change.index)?.clear();
        break;
      case 'trigger':
        for (const vector of change.vectors) this.#signal(change.index, vector);
        break;
      default:
        this.#mask(change.index, change.vectors, change.action === 'mask');
    }
    this.configChanged();
  }

  /** Registers and pending bits as at first; bindings and masks of the client stay. */
  reset(): void {
    this.table.reset();
    this.msix.clearPending();
    this.msi.clearPending();
    this.setIntx(false);
  }

  /** The client is gone: nothing is bound or masked, every descriptor is closed. */
  unbindAll(): void {
    for (const bound of this.#bound) bound.clear();
    this.msix.clear();
    this.msi.clear();
    this.#publishMsi();
    this.table.reset();
    this.pin.setBound(false);
  }

  get #isMsixOn(): boolean {
    return this.#config.msixEnabled || this.#bound[VFIO_PCI_MSIX_IRQ_INDEX]!.boundCount > 0;
  }

  get #isMsiOn(): boolean {
    return this.#config.msiEnabled || this.#bound[VFIO_PCI_MSI_IRQ_INDEX]!.boundCount > 0;
  }

  #pinGate() {
    const isBlocked = () => this.#config.intxDisabled || this.#isMsixOn || this.#isMsiOn;
    return {
      get isBlocked() {
        return isBlocked();
      },
    };
  }

  #countOf(index: number): number {
    return this.irqs[index]!.count;
  }

  #vectors(index: number, isMasked: (vector: number) => boolean): VectorState {
    const { fds } = this.#bound[index]!;
    return new VectorState(fds.length, {
      isMasked,
      isBound: (vector) => fds[vector] !== undefined,
      signal: (vector) => this.#signal(index, vector),
    });
  }

  #stateOf(index: number): VectorState | undefined {
    if (index === VFIO_PCI_MSIX_IRQ_INDEX) return this.msix;
    return index === VFIO_PCI_MSI_IRQ_INDEX ? this.msi : undefined;
  }

  #bind(index: number, start: number, fds: readonly Fd[]): void {
    if (fds.some((fd) => !this.#events.isEventFd(fd))) {
      closeAll(fds);
      throw new LessorError('FD_REFUSED', 'an interrupt target is not an eventfd');
    }
    fds.forEach((fd, offset) => {
      this.#bound[index]!.set(start + offset, fd);
    });
    if (index === VFIO_PCI_INTX_IRQ_INDEX) this.pin.setBound(true);
  }

  #unbind(index: number, start: number, count: number): void {
    const bound = this.#bound[index]!;
    for (let vector = start; vector < start + count; vector++) bound.set(vector, undefined);
    if (index === VFIO_PCI_INTX_IRQ_INDEX) this.pin.setBound(false);
  }

  #mask(index: number, vectors: readonly number[], isMasked: boolean): void {
    if (index !== VFIO_PCI_INTX_IRQ_INDEX) this.#stateOf(index)?.setMasked(vectors, isMasked);
    else if (vectors.length > 0) this.pin.setMasked(isMasked);
  }

  #publishMsi(): void {
    let bits = 0;
    for (let vector = 0; vector < this.msi.count; vector++) {
      if (this.msi.isPending(vector)) bits |= 1 << vector;
    }
    this.#config.msiPending = bits;
  }

  /** Never blocks. What fails is a descriptor that reaches nobody, which hurts its owner alone. */
  #signal(index: number, vector: number): void {
    const fd = this.#bound[index]!.fds[vector];
    if (fd !== undefined) this.#signaller.signal(fd.number);
  }
}
