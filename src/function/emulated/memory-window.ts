// A window with memory of its own: one memfd, placed in the arena, that the device sees instead of
// scratch from connect to detach. Owns its descriptors, its arena pages and its guard slot.
import type { Clock } from '../../base/clock.js';
import { LessorError } from '../../base/errors.js';
import { Listeners } from '../../base/listeners.js';
import type { Logger } from '../../base/log.js';
import { hex } from '../../base/units.js';
import type { Words } from '../../device/words.js';
import type { DmaMemory, RevocableWindow } from '../../iommu/types.js';
import type { Fd } from '../../os/fd.js';
import type { HelperPool } from '../../os/helper-types.js';
import type { Arena, GuardSlot } from '../../os/memory-types.js';
import type { WindowPlan } from '../frame-map.js';
import { allOnes, createRegisters } from '../register-access.js';
import type { BackingSpec, Registers, Window } from '../types.js';
import { WindowHelpers } from '../window-helpers.js';
import type { FrameTable } from './frame-table.js';

/** Longest time that a detach waits for the worker. The cut needs no worker. */
const partDeadlineMs = 100;

export interface WindowMemory {
  /** The broker's descriptor, writable, for truncation. */
  readonly ownFd: Fd;
  /** What the client maps. The same object as `ownFd` for a read-write window. */
  readonly clientFd: Fd;
  /** Byte offset in the arena. */
  readonly at: number;
  readonly slot: GuardSlot;
}

/** Lets address spaces map part of the arena, which is in place, until that is revoked. */
export type ExportWindow = (
  arenaOffsetBytes: number,
  lengthBytes: number,
  isWritable: boolean,
) => RevocableWindow;

export interface MemoryWindowParts {
  readonly spec: BackingSpec;
  readonly plan: WindowPlan;
  /** Under which the frame table keeps the plan's frames. */
  readonly holder: object;
  readonly memory: WindowMemory;
  readonly uid: number;
  readonly arena: Arena;
  readonly view: Words;
  readonly frames: FrameTable;
  readonly helpers: HelperPool;
  readonly clock: Clock;
  readonly log: Logger;
  readonly exportWindow: ExportWindow;
  /** Called once, when nothing can touch the window's arena range any more. */
  readonly release: (window: MemoryWindow) => void;
  /** @throws LessorError `FUNCTION_GONE` */
  readonly checkPresent: () => void;
}

type State = 'open' | 'connecting' | 'connected' | 'detached';

export class MemoryWindow implements Window {
  readonly revocation = 'kernel';
  readonly isDmaTarget = true;
  readonly lengthBytes: number;
  readonly registers: Registers;
  readonly #parts: MemoryWindowParts;
  readonly #truncated = new Listeners<void>();
  readonly #faultsAtFirst: number;
  #state: State = 'open';
  #isTruncated = false;
  #isJoined = false;
  /** Resolves once the worker uses nothing of the window's range. */
  #parted: Promise<void> = Promise.resolve();
  readonly #helpers: WindowHelpers;
  #connecting: Promise<void> | undefined;
  #detaching: Promise<void> | undefined;
  #disposing: Promise<void> | undefined;
  /** From connect on. */
  #exported: RevocableWindow | undefined;
  /** Resolves once no address space reaches it. */
  #revoked: Promise<void> | undefined;

  constructor(parts: MemoryWindowParts) {
    this.#parts = parts;
    this.lengthBytes = parts.plan.lengthBytes;
    this.#helpers = new WindowHelpers({
      ...parts,
      fd: parts.memory.ownFd,
      lengthBytes: this.lengthBytes,
    });
    this.#faultsAtFirst = parts.arena.faults[parts.memory.slot]!;
    this.registers = this.#createRegisters();
  }

  get fd(): Fd {
    return this.#parts.memory.clientFd;
  }

  get dmaMemory(): DmaMemory | undefined {
    if (this.#state !== 'connected' || this.#exported === undefined) return undefined;
    return { fd: this.#parts.memory.ownFd, offsetBytes: 0, window: this.#exported };
  }

  async connect(): Promise<void> {
    if (this.#state === 'connected') return;
    if (this.#state === 'detached') {
      throw new LessorError('WINDOW_REVOKED', 'the window was detached');
    }
    this.#parts.checkPresent();
    this.#connecting ??= this.#connect();
    await this.#connecting;
  }

  async detach(): Promise<void> {
    await this.#cut();
    // Who was told that it is cut must see a fault of other leases' devices, not the zeros.
    await this.#revoked;
  }

  #cut(): Promise<void> {
    // What failed before the cut, for want of memory say, may be tried again.
    this.#detaching ??= this.#detach().catch((error: unknown) => {
      this.#detaching = undefined;
      throw error;
    });
    return this.#detaching;
  }

  async zap(deadlineMs: number): Promise<'gone' | 'orphan'> {
    await this.#cut();
    if (this.#disposing) throw new LessorError('WINDOW_REVOKED', 'the window was disposed');
    return this.#helpers.zap(deadlineMs);
  }

  onTruncated(listener: () => void): Disposable {
    return this.#truncated.add(listener);
  }

  /** Looks whether the guard had to stand in for the window's memory. */
  checkTruncated(): void {
    if (this.#isTruncated || !this.#hasFaulted()) return;
    this.#isTruncated = true;
    queueMicrotask(() => this.#truncated.emit());
  }

  /** Detaches, returns the arena range and closes the descriptors. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#dispose().catch((error: unknown) => {
      this.#disposing = undefined;
      throw error;
    });
    return this.#disposing;
  }

  #hasFaulted(): boolean {
    const { arena, memory } = this.#parts;
    return Atomics.load(arena.faults, memory.slot) !== this.#faultsAtFirst;
  }

  async #connect(): Promise<void> {
    this.#state = 'connecting';
    try {
      await this.#helpers.seal();
      this.#checkConnecting();
      // What the client stored before counts for nothing: the device starts from all zeros.
      if (this.#parts.spec.access === 'read-write') {
        this.#parts.view.clear(this.#parts.memory.at, this.lengthBytes);
        this.#checkMemory();
      }
      this.#isJoined = true;
      await this.#parts.frames.join(this.#parts.plan.frames, this.#parts.memory.at);
      this.#checkConnecting();
      this.#checkMemory();
      const { exportWindow, spec, memory } = this.#parts;
      this.#exported = exportWindow(memory.at, this.lengthBytes, spec.access === 'read-write');
      this.#state = 'connected';
    } catch (error) {
      await this.#cut();
      throw error;
    }
  }

  #checkConnecting(): void {
    if (this.#state === 'connecting') return;
    throw new LessorError('WINDOW_REVOKED', 'the window was detached while it was connected');
  }

  #checkMemory(): void {
    if (!this.#hasFaulted()) return;
    this.checkTruncated();
    throw new LessorError('WINDOW_SEALS', 'the holder truncated the window');
  }

  async #detach(): Promise<void> {
    const { arena, memory, frames, plan, holder } = this.#parts;
    this.#state = 'detached';
    // The cut: whatever still runs under old addresses finds private zero pages.
    arena.zero(memory.at, this.lengthBytes);
    this.#revoked ??= this.#exported?.revoke();
    // Who waits for it may come later than its failure.
    this.#revoked?.catch(() => undefined);
    if (this.#isJoined) this.#parted = frames.part(plan.frames);
    frames.give(plan.frames, holder);
    let timer: Disposable | undefined;
    const late = new Promise<void>((resolve) => {
      timer = this.#parts.clock.after(partDeadlineMs, resolve);
    });
    await Promise.race([this.#parted, late]);
    timer![Symbol.dispose]();
  }

  async #dispose(): Promise<void> {
    await this.#cut();
    await this.#parted;
    await this.#exported?.released;
    await this.#helpers.settled();
    const { arena, memory, release } = this.#parts;
    try {
      // Where this fails, the range stays out of use until the end of the function.
      arena.clear(memory.at, this.lengthBytes, memory.slot);
    } finally {
      memory.clientFd.close();
      memory.ownFd.close();
    }
    release(this);
  }

  #createRegisters(): Registers {
    const { view, memory, spec } = this.#parts;
    return createRegisters(this.lengthBytes, {
      read: (offsetBytes, width) => {
        if (this.#state !== 'connected') return allOnes(width);
        const value = view.load(memory.at + offsetBytes, width);
        this.checkTruncated();
        return value;
      },
      write: (offsetBytes, width, value) => {
        if (spec.access === 'read') {
          throw new LessorError('WINDOW_READ_ONLY', `a write at ${hex(offsetBytes)}`);
        }
        if (this.#state !== 'connected') return undefined;
        view.store(memory.at + offsetBytes, width, value);
        this.checkTruncated();
        return undefined;
      },
    });
  }
}
