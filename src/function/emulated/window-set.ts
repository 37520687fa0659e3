// Makes the windows of one function and keeps the live ones: their memory, seals and arena pages.
import type { Clock } from '../../base/clock.js';
import { LessorError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { DeviceRegion } from '../../device/types.js';
import type { Words } from '../../device/words.js';
import type { Fd } from '../../os/fd.js';
import type { HelperPool } from '../../os/helper-types.js';
import { type Arena, F_SEAL_GROW, type MemoryOs } from '../../os/memory-types.js';
import { type FramePlace, planWindow } from '../frame-map.js';
import { type DeviceAccess, MessageWindow } from '../message-window.js';
import type { BackingSpec, RegionRange, Window } from '../types.js';
import { windowSeals } from '../window-seals.js';
import type { FrameTable } from './frame-table.js';
import { type ExportWindow, MemoryWindow, type WindowMemory } from './memory-window.js';

/** Gives out parts of the arena by byte offset. */
export interface ArenaRanges {
  allocate(lengthBytes: number): number | undefined;
  free(offsetBytes: number, lengthBytes: number): void;
}

export interface WindowSetParts {
  /** Shows in the names of the windows' memory. */
  readonly name: string;
  readonly memory: MemoryOs;
  readonly helpers: HelperPool;
  readonly arena: Arena;
  readonly view: Words;
  readonly pages: ArenaRanges;
  readonly frames: FrameTable;
  readonly places: readonly FramePlace[];
  readonly regions: readonly DeviceRegion[];
  readonly reserved: readonly RegionRange[];
  readonly device: DeviceAccess;
  readonly clock: Clock;
  readonly log: Logger;
  readonly exportWindow: ExportWindow;
  /** @throws LessorError `FUNCTION_GONE` */
  readonly checkPresent: () => void;
}

/** Allocates arena pages or says that there are none. @throws LessorError `ARENA_FULL` */
export function allocateArena(pages: ArenaRanges, lengthBytes: number): number {
  const at = pages.allocate(lengthBytes);
  if (at === undefined) throw new LessorError('ARENA_FULL', `no room for ${lengthBytes} bytes`);
  return at;
}

export class WindowSet {
  readonly #parts: WindowSetParts;
  readonly #withMemory = new Set<MemoryWindow>();
  readonly #withoutMemory = new Set<MessageWindow>();
  #serial = 0;

  constructor(parts: WindowSetParts) {
    this.#parts = parts;
  }

  /**
   * Makes a window that the device does not see yet.
   *
   * @param uid - Whose limits the window's helper operations count against.
   * @throws LessorError `INVALID_ARGUMENT`, `ARENA_FULL`, `FUNCTION_GONE`; OsError.
   */
  open(spec: BackingSpec, uid: number): Window {
    const { regions, places, reserved, checkPresent, pages, frames } = this.#parts;
    checkPresent();
    const plan = planWindow(spec, regions, places, reserved);
    if (plan.frames.length === 0) {
      const release = (window: MessageWindow): boolean => this.#withoutMemory.delete(window);
      const window = new MessageWindow(spec, plan.lengthBytes, this.#parts.device, release);
      this.#withoutMemory.add(window);
      return window;
    }
    const holder = {};
    frames.take(plan.frames, holder);
    let at: number | undefined;
    try {
      at = allocateArena(pages, plan.lengthBytes);
      const memory = this.#makeMemory(spec, plan.lengthBytes, at);
      const release = (window: MemoryWindow): void => {
        this.#withMemory.delete(window);
        pages.free(memory.at, plan.lengthBytes);
      };
      const window = new MemoryWindow({ ...this.#parts, spec, plan, holder, memory, uid, release });
      this.#withMemory.add(window);
      return window;
    } catch (error) {
      frames.give(plan.frames, holder);
      if (at !== undefined) pages.free(at, plan.lengthBytes);
      throw error;
    }
  }

  /** Looks for windows whose memory went away, and tells their owners. */
  checkTruncated(): void {
    for (const window of this.#withMemory) window.checkTruncated();
  }

  /** Disposes what its owners left behind. */
  async disposeAll(): Promise<void> {
    const windows = [...this.#withMemory, ...this.#withoutMemory];
    await Promise.all(windows.map((window) => window[Symbol.asyncDispose]()));
  }

  #makeMemory(spec: BackingSpec, lengthBytes: number, at: number): WindowMemory {
    const { name, memory, arena } = this.#parts;
    const serial = this.#serial++;
    const ownFd = memory.create(`lessor-window-${name}-${serial}`, lengthBytes);
    let clientFd: Fd | undefined;
    let slot: number | undefined;
    try {
      const place = { offsetBytes: 0, lengthBytes, writable: true, guard: 'ones' } as const;
      // Placed first: after the seals of a read-only window nobody can map it writable.
      slot = arena.place(at, ownFd, place);
      if (spec.access === 'read') {
        memory.addSeals(ownFd, windowSeals);
        memory.setMode(ownFd, 0o400);
        clientFd = memory.reopenReadOnly(ownFd);
      } else {
        memory.addSeals(ownFd, F_SEAL_GROW);
        clientFd = ownFd;
      }
      return { ownFd, clientFd, at, slot };
    } catch (error) {
      if (slot !== undefined) arena.clear(at, lengthBytes, slot);
      ownFd.close();
      clientFd?.close();
      throw error;
    }
  }
}
