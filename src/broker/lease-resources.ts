// Everything a granted lease holds of the function, made in order and given back by the reclaim.
import { AssertionFailure, type ErrorCode, isOsError, LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { hex } from '../base/units.js';
import type { Window, WindowTerms } from '../function/types.js';
import type { Access } from '../iommu/types.js';
import type { Fd } from '../os/fd.js';
import type { MemoryOs } from '../os/memory-types.js';
import type { BrokerContext } from './context.js';
import type { HolderProcess } from './holder-process.js';
import { LeaseDma } from './lease-dma.js';
import { LeaseInterrupts } from './lease-interrupts.js';
import type { LeaseTerms } from './lease-terms.js';

export interface ResourceEvents {
  /** The lease cannot go on, through its holder's doing. */
  readonly onBroken: (detail: string) => void;
  /** Why the windows cannot be shared with other leases now; undefined when they can. */
  readonly shareRefusal: () => ErrorCode | undefined;
}

export class LeaseResources {
  readonly #context: BrokerContext;
  readonly #terms: LeaseTerms;
  readonly #events: ResourceEvents;
  readonly #windows: Window[] = [];
  readonly #watches: Disposable[] = [];
  readonly #booked: Disposable[] = [];
  readonly interrupts: LeaseInterrupts;
  readonly #holder: HolderProcess | undefined;
  #dma: LeaseDma | undefined;
  #granted = false;
  #granting: Promise<void> | undefined;
  #closed = false;

  /** @param holder - The process that gets the device, for such a lease. Owned. */
  constructor(
    context: BrokerContext,
    terms: LeaseTerms,
    events: ResourceEvents,
    holder?: HolderProcess,
  ) {
    this.#context = context;
    this.#terms = terms;
    this.#events = events;
    this.#holder = holder;
    this.interrupts = new LeaseInterrupts(context.fn, context.os.events, terms.vectorList);
  }

  /** One window per backing of the layout, in its order. */
  get windows(): readonly Window[] {
    return this.#windows;
  }

  /** A process has the device of this lease, and is not proved dead. */
  get isHeld(): boolean {
    return this.#holder?.isLive === true;
  }

  /** A descriptor of a window for the lease's client, who owns it; undefined when it has none. */
  giveWindow(index: number): Fd | undefined {
    const copy = this.#windows[index]?.fd?.duplicate();
    if (copy !== undefined) this.#holder?.give();
    return copy;
  }

  /** The holder gave its lease back. */
  letLeave(): void {
    this.#holder?.letLeave();
  }

  get mappedBytes(): number {
    return this.#dma?.mappedBytes ?? 0;
  }

  /** What the map that holds this address allows; undefined when there is none. */
  accessAt(iova: number): Access | undefined {
    return this.#dma?.accessAt(iova);
  }

  get dma(): LeaseDma {
    if (this.#dma === undefined) throw new AssertionFailure('a lease without address space');
    return this.#dma;
  }

  /** Makes windows and address space, then has the driver program the slice. */
  async open(): Promise<void> {
    try {
      await this.#open();
    } catch (error) {
      // After a deadline nobody waits for this; what was made late is given back at once.
      if (this.#closed) await this.close();
      throw error;
    }
  }

  async #open(): Promise<void> {
    const { fn, os, windows } = this.#context;
    const { slice, layout, iovaWindow, pasid, allowUnsealedMemory } = this.#terms;
    const space = await fn.dma.open({ pasid });
    this.#dma = new LeaseDma({
      memory: os.memory,
      space,
      window: iovaWindow,
      pageBytes: fn.info.iovaPageBytes,
      allowUnsealedMemory,
      windowOf: (identity, access) => windows.target(identity, access, this.#terms.uid),
      windowOfFile: (fd, access) =>
        windows.fileTarget((own) => os.memory.isSameFile(fd, own), access, this.#terms.uid),
      placedBytesMax: placedBytesMax(this.#terms),
      onMemoryGone: (mapping) =>
        this.#events.onBroken(`memory behind iova ${hex(mapping.iova)} was truncated`),
    });
    this.#checkInTime();
    for (const backing of layout.backings) {
      const window = await fn.openWindow(backing, this.#windowTerms());
      this.#windows.push(window);
      this.#book(window, backing.access);
      this.#watches.push(
        window.onTruncated(() => this.#events.onBroken('a window was truncated by its holder')),
      );
      this.#checkInTime();
    }
    this.#granted = true;
    this.#granting = slice.grant({
      leaseId: this.#terms.id,
      epoch: this.#terms.epoch,
      pasid,
      bounds: this.#terms.bounded ? iovaWindow : undefined,
    });
    await this.#granting;
    this.#checkInTime();
    // Bus Master Enable is clear at first.
    await slice.permitDma?.(false);
  }

  #windowTerms(): WindowTerms {
    const { uid } = this.#terms;
    return this.#holder === undefined ? { uid } : { uid, holder: this.#holder };
  }

  #book(window: Window, access: 'read-write' | 'read'): void {
    const { fd } = window;
    if (fd === undefined) return;
    const { os, windows } = this.#context;
    const { id, uid } = this.#terms;
    const refusal = this.#events.shareRefusal;
    const booked = { window, access, leaseId: id, uid, refusal };
    const entry = isMemory(os.memory, fd)
      ? windows.add(os.memory.identity(fd), booked)
      : windows.addFile(fd, booked);
    this.#booked.push(entry);
  }

  #checkInTime(): void {
    if (this.#closed) throw new LessorError('DEADLINE_EXCEEDED', 'the grant came too late');
  }

  /** Seals, verifies and joins every window to the device. */
  async connect(): Promise<void> {
    await Promise.all(this.#windows.map((window) => window.connect()));
  }

  async detach(): Promise<void> {
    await Promise.all(this.#windows.map((window) => window.detach()));
  }

  /** `orphan` when the bytes of some window stay with the holder, inert. */
  async zap(deadlineMs: number): Promise<'gone' | 'orphan'> {
    // After the cut they reach nobody, and taking them away would kill a VM monitor.
    if (this.#terms.revocation === 'orphan') return 'orphan';
    const outcomes = await Promise.all(this.#windows.map((window) => window.zap(deadlineMs)));
    return outcomes.includes('orphan') ? 'orphan' : 'gone';
  }

  /** Takes PASID or bounds back from the device. Does nothing when nothing was granted. */
  async ungrant(): Promise<void> {
    if (!this.#granted) return;
    // A grant that is late comes first: it would undo this.
    await this.#granting?.catch(() => undefined);
    await this.#terms.slice.ungrant();
    this.#granted = false;
  }

  /** What a quarantine kept, and what its reclaim could not finish: nothing is left after. */
  async giveBack(): Promise<void> {
    await this.#holder?.end();
    await this.ungrant();
    await this.close();
  }

  /** Unmaps everything, acknowledged, and gives back windows and address space. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const watch of this.#watches.splice(0)) watch[Symbol.dispose]();
    await this.#dma?.close();
    this.#dma = undefined;
    const booked = this.#booked.splice(0);
    try {
      await Promise.all(this.#windows.splice(0).map((window) => window[Symbol.asyncDispose]()));
    } finally {
      for (const entry of booked) entry[Symbol.dispose]();
    }
    // Of windows that failed to close nobody knows here any more.
    await this.#holder?.end();
    this.#holder?.[Symbol.dispose]();
  }
}

function isMemory(memory: Pick<MemoryOs, 'seals'>, fd: Fd): boolean {
  try {
    memory.seals(fd);
    return true;
  } catch (error) {
    if (isOsError(error, 'EINVAL')) return false;
    throw error;
  }
}

/** A guest's whole memory is mapped: as much as was asked for, where that is more than usual. */
function placedBytesMax({ listen, memoryBytes }: LeaseTerms): number {
  if (!listen) return limits.placedBytesPerLeaseMax;
  return Math.max(
    limits.placedBytesPerLeaseMax,
    Math.min(memoryBytes, limits.placedBytesPerListenMax),
  );
}
