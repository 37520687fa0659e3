// A lease in the hands of its client: windows, memory, interrupts, and how it ends.
import { EventEmitter } from 'node:events';
import type { Clock } from '../base/clock.js';
import { LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { Listeners } from '../base/listeners.js';
import { type Iova, toCount, toIova } from '../base/units.js';
import type { Access } from '../iommu/types.js';
import type { Fd } from '../os/fd.js';
import type { Os } from '../os/os-types.js';
import { createSealedMemory } from '../os/sealed-memory.js';
import type { FaultRecord, LeaseRecord } from '../varlink/interface.js';
import type { VfioUserClient } from '../vfio-user/client.js';
import { LeaseInterrupt } from './interrupt.js';
import { IovaAllocator } from './iova-allocator.js';
import { disableDevice, enableDevice, type OwnedWindow } from './lease-device.js';
import type { LeaseEvents } from './lease-events.js';
import { LeaseMemory } from './lease-memory.js';
import type { LeaseWindow, MappedWindow } from './window.js';

export interface LeaseEnd {
  /** What the broker said, or what was seen when it could not say anything. */
  readonly reason: string;
  /** True when this side gave the lease back. */
  readonly released: boolean;
}

export interface LeaseEventMap {
  revoking: [{ readonly reason: string; readonly graceMs: number }];
  fault: [FaultRecord];
  ended: [LeaseEnd];
}

/** Memory that is not of this lease's own making. */
export interface ForeignMemory {
  /** A memfd, or a window that another lease has exported; not owned by the lease. */
  readonly fd: Fd;
  readonly offsetBytes?: number;
  readonly lengthBytes: number;
  /** Where in the IOVA window; default: the first hole. */
  readonly iova?: number | bigint;
  /** Default `read-write`. */
  readonly access?: Access;
}

/** A window as another lease maps it. Its descriptor is the caller's. */
export interface ExportedWindow extends ForeignMemory, Disposable {
  readonly offsetBytes: number;
  readonly access: 'read-write' | 'read';
}

export interface LeaseMapping {
  readonly iova: Iova;
  readonly lengthBytes: number;
}

const closeMs = 5000;
const mqIrqIndex = 2;
const pageBytesDefault = 4096;

export interface LeaseParts {
  readonly os: Os;
  readonly record: LeaseRecord;
  readonly device: VfioUserClient;
  readonly windows: ReadonlyMap<string, OwnedWindow>;
  /** What the broker tells on the control connection; absent where only the lease fd was given. */
  readonly events: LeaseEvents | undefined;
}

export class Lease extends EventEmitter<LeaseEventMap> implements AsyncDisposable {
  /** As granted; `mappedBytes` and `state` are of that moment. */
  readonly record: LeaseRecord;
  readonly memory: { allocate(lengthBytes: number): Promise<LeaseMemory> };
  /** Resolves when the lease has ended, for whatever reason. Never rejects. */
  readonly ended: Promise<LeaseEnd>;
  readonly #os: Os;
  readonly #device: VfioUserClient;
  readonly #windows: ReadonlyMap<string, OwnedWindow>;
  readonly #events: LeaseEvents | undefined;
  readonly #iovas: IovaAllocator;
  readonly #interrupts = new Map<number, LeaseInterrupt>();
  readonly #closedListeners = new Listeners<void>();
  #resolveEnded: (end: LeaseEnd) => void = () => {};
  #end: LeaseEnd | undefined;
  #releasing = false;
  #closed = false;
  #disposed = false;

  /**
   * The lease that `lessor acquire -- command` passed to this process: negotiates, maps every
   * window, then enables. Call once.
   *
   * @throws LessorError `INVALID_ARGUMENT` when there is none.
   */
  static async fromEnvironment(options: { readonly enable?: boolean } = {}): Promise<Lease> {
    // Imported when it is wanted: that module makes leases, and so needs this one first.
    const { fromEnvironment } = await import('./from-environment.js');
    return fromEnvironment(options);
  }

  constructor(parts: LeaseParts) {
    super();
    const { os, record, device, windows, events } = parts;
    this.#os = os;
    this.record = record;
    this.#device = device;
    this.#windows = windows;
    this.#events = events;
    this.#iovas = new IovaAllocator(
      { base: record.iovaBase, lengthBytes: record.iovaBytes },
      os.memory.pageBytes || pageBytesDefault,
    );
    this.memory = { allocate: (lengthBytes) => this.#allocate(lengthBytes) };
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    events?.start({
      revoking: (reason, graceMs) => this.emit('revoking', { reason, graceMs }),
      fault: (fault) => this.emit('fault', fault),
      ended: (reason) => this.#noteEnd(reason),
    });
    device.onClosed(() => this.#onDeviceClosed());
    if (!device.isOpen) this.#onDeviceClosed();
  }

  get clock(): Clock {
    return this.#os.clock;
  }

  /** The lease has ended or its connection is gone. A plain load. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Calls back once when the lease ends; at once when it has. */
  onClosed(listener: () => void): Disposable {
    if (!this.#closed) return this.#closedListeners.add(listener);
    listener();
    return { [Symbol.dispose]: () => undefined };
  }

  get windows(): readonly LeaseWindow[] {
    return [...this.#windows.values()];
  }

  /** @throws LessorError `INVALID_ARGUMENT` when the lease has no window of that name. */
  window(name: string): LeaseWindow {
    const window = this.#windows.get(name);
    if (window === undefined) {
      const names = [...this.#windows.keys()].join(', ');
      throw new LessorError('INVALID_ARGUMENT', `no window "${name}"; there are: ${names}`);
    }
    return window;
  }

  /**
   * A window whose registers are mapped into this process.
   *
   * @throws LessorError `INVALID_ARGUMENT` as `window`, `WINDOW_MESSAGE_ONLY` when it is reached
   *   by message alone, as those of a lease with revocation `mediated` are.
   */
  mappedWindow(name: string): MappedWindow {
    const window = this.window(name);
    if (window.kind === 'mapped') return window;
    throw new LessorError('WINDOW_MESSAGE_ONLY', `window ${name} is not mapped`);
  }

  /**
   * A window for `map` of another lease of the same broker, in this process or one that is given
   * the descriptor: the device of that lease then reaches these registers as memory, from `enable`
   * to the end of this lease.
   *
   * @throws LessorError `INVALID_ARGUMENT` as `window`, `WINDOW_MESSAGE_ONLY` when the window has
   *   no memory, `UNSUPPORTED` when this process has the device itself; OsError `ENODEV` when the
   *   lease has ended.
   */
  async exportWindow(name: string): Promise<ExportedWindow> {
    const { region, offsetBytes, lengthBytes, access } = this.mappedWindow(name);
    if (this.#hasDevice) throw new LessorError('UNSUPPORTED', 'the device itself is not passed on');
    const { fd, fdOffsetBytes } = await this.#device.regionInfo(region);
    if (fd === undefined) throw new LessorError('WINDOW_MESSAGE_ONLY', `window ${name}`);
    return {
      fd,
      offsetBytes: fdOffsetBytes + offsetBytes,
      lengthBytes,
      access,
      [Symbol.dispose]: () => fd.close(),
    };
  }

  /**
   * Connects the windows and permits DMA; `acquire` does it unless told not to.
   *
   * @throws OsError EPERM when a window's memory is not as the broker made it.
   */
  enable(): Promise<void> {
    return enableDevice(this.#device);
  }

  /**
   * Lets the device reach memory that this process has from elsewhere, or a window of another
   * lease. What is mapped of a window is dead once that lease has ended: DMA there faults as
   * `revoked`, and its addresses stay taken until it is unmapped.
   *
   * @throws OsError or LessorError as the broker answers: EEXIST, EINVAL, EPERM, ENOSPC, ERANGE;
   *   for windows also EACCES, EAGAIN before their lease is enabled, ENODEV after its end.
   */
  async map(memory: ForeignMemory): Promise<LeaseMapping> {
    const lengthBytes = toCount(memory.lengthBytes, 'lengthBytes', limits.mapBytesMax);
    const iova =
      memory.iova === undefined ? this.#iovas.allocate(lengthBytes) : toIova(memory.iova);
    if (memory.iova !== undefined) this.#iovas.take(iova, lengthBytes);
    const access = memory.access ?? 'read-write';
    try {
      await this.#device.dmaMap({
        iova: BigInt(iova),
        lengthBytes: BigInt(lengthBytes),
        offsetBytes: BigInt(memory.offsetBytes ?? 0),
        readable: access !== 'write',
        writable: access !== 'read',
        fd: memory.fd.duplicate(),
      });
      return { iova, lengthBytes };
    } catch (error) {
      this.#iovas.free(iova);
      throw error;
    }
  }

  /** Resolves when the device can no longer reach it. */
  async unmap(mapping: LeaseMapping): Promise<void> {
    if (!this.#closed) {
      await this.#device.dmaUnmap({
        iova: BigInt(mapping.iova),
        lengthBytes: BigInt(mapping.lengthBytes),
      });
    }
    this.#iovas.free(mapping.iova);
  }

  /**
   * An interrupt of the lease, bound on first use.
   *
   * @param index - Of the lease's vectors, from 0.
   */
  interrupt(index: number): LeaseInterrupt {
    const known = this.#interrupts.get(index);
    if (known !== undefined) return known;
    toCount(index, 'interrupt', this.record.vectors - 1);
    const fd = this.#os.events.createEventFd();
    let copy: Fd;
    try {
      copy = fd.duplicate();
    } catch (error) {
      fd.close();
      throw error;
    }
    const change = { action: 'bind', index: mqIrqIndex, start: index, fds: [copy] } as const;
    const bound = this.#device.setIrqs(change);
    const interrupt = new LeaseInterrupt(this.#os.events, this.#os.clock, index, fd, bound);
    this.#interrupts.set(index, interrupt);
    if (this.#closed) interrupt.end();
    return interrupt;
  }

  /** Resets the slice and enables it again; windows, maps and interrupts stay. */
  async reset(): Promise<void> {
    await this.#device.reset();
    await this.enable();
  }

  /**
   * Gives the lease back and resolves when the broker has taken everything. Windows and their
   * arrays are gone after. Idempotent. With revocation `process` it resolves at once, and this
   * process must end: the broker kills it a moment later, as nothing else proves that the device is
   * free.
   */
  async close(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    if (!this.#closed) {
      this.#releasing = true;
      // A clear COMMAND register before end-of-file says that the holder is done, not dead.
      await disableDevice(this.#device).catch(() => undefined);
      this.#device.close();
    }
    if (this.#end === undefined) await this.#waitForEnd();
    for (const interrupt of this.#interrupts.values()) interrupt[Symbol.dispose]();
    this.#events?.close();
    for (const window of this.#windows.values()) {
      if (window.kind === 'mapped') window[Symbol.dispose]();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #hasDevice(): boolean {
    return this.record.revocation === 'process';
  }

  async #allocate(lengthBytes: number): Promise<LeaseMemory> {
    const wanted = toCount(lengthBytes, 'lengthBytes', limits.mapBytesMax);
    if (wanted === 0) throw new LessorError('INVALID_ARGUMENT', 'lengthBytes is 0');
    const { fd, mapping } = createSealedMemory(this.#os.memory, 'lessor-memory', wanted);
    try {
      const mapped = await this.map({ fd, lengthBytes: mapping.lengthBytes });
      return new LeaseMemory(mapped.iova, fd, mapping, () => this.unmap(mapped));
    } catch (error) {
      mapping[Symbol.dispose]();
      fd.close();
      throw error;
    }
  }

  async #waitForEnd(): Promise<void> {
    if (this.#hasDevice) return this.#finish('given back with the end of this process');
    if (this.#events === undefined) return this.#finish('the lease fd was closed');
    let timer: Disposable | undefined;
    const late = new Promise<void>((resolve) => {
      timer = this.#os.clock.after(closeMs, resolve);
    });
    await Promise.race([this.ended, late]);
    timer?.[Symbol.dispose]();
    this.#finish('the broker did not say');
  }

  /** The broker's word that the lease has ended. */
  #noteEnd(reason: string): void {
    this.#shut();
    this.#finish(reason);
    this.#device.close();
    // Nothing more will be said on it: it must not keep a process that only listens.
    this.#events?.close();
  }

  /** End-of-file on the lease fd: fenced long ago, or the broker died. */
  #onDeviceClosed(): void {
    this.#shut();
    if (this.#events === undefined || !this.#events.isOpen) {
      this.#finish('the connection of the lease is gone');
    }
  }

  /** From here on nothing of the lease works; the bytes must not look alive. */
  #shut(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const window of this.#windows.values()) {
      if (window.kind === 'mapped') window.poison();
    }
    for (const interrupt of this.#interrupts.values()) interrupt.end();
    this.#closedListeners.emit();
  }

  #finish(reason: string): void {
    if (this.#end !== undefined) return;
    this.#end = { reason, released: this.#releasing };
    this.#shut();
    this.emit('ended', this.#end);
    this.#resolveEnded(this.#end);
  }
}
