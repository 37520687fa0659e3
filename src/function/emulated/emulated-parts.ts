// Everything an emulated function is made of, built in order and taken down in reverse.
import type { Clock } from '../../base/clock.js';
import { assert, LessorError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import { Words } from '../../device/words.js';
import type { EventOs } from '../../os/event-types.js';
import type { Fd } from '../../os/fd.js';
import type { HelperPool } from '../../os/helper-types.js';
import type { Arena, MemoryOs } from '../../os/memory-types.js';
import { type FramePlace, framesOf } from '../frame-map.js';
import type { DeviceAccess } from '../message-window.js';
import type { FunctionInfo } from '../types.js';
import { giveArena, takeArena } from './arena-pool.js';
import { type ControlBlock, createControlBlock } from './control-block.js';
import { DeviceThread } from './device-thread.js';
import { FrameTable } from './frame-table.js';
import { functionInfo } from './function-info.js';
import { FunctionIommu } from './function-iommu.js';
import { Mailbox } from './mailbox.js';
import { VectorTable } from './vector-table.js';
import { allocateArena, WindowSet } from './window-set.js';
import { WorkerLink } from './worker-link.js';
import type { DeviceSource } from './worker-messages.js';

/** What an emulated function needs of the operating system. */
export interface EmulatedOs {
  readonly memory: MemoryOs;
  readonly events: EventOs;
  readonly clock: Clock;
}

export interface PartsOptions {
  readonly os: EmulatedOs;
  readonly helpers: HelperPool;
  readonly device: DeviceSource;
  readonly arenaBytes: number;
  readonly idleSpinMs: number;
  readonly requestDeadlineMs: number;
  readonly epoch: number;
  readonly log: Logger;
  readonly name: string;
}

/** What the parts ask of the function that they make up. */
export interface PartsHost extends DeviceAccess {
  /** @throws LessorError `FUNCTION_GONE` */
  checkPresent(): void;
  /** A request was given up. */
  silence(): void;
}

export class EmulatedParts {
  readonly info: FunctionInfo;
  readonly log: Logger;
  readonly arena: Arena;
  readonly view: Words;
  readonly control: ControlBlock;
  readonly iommu: FunctionIommu;
  readonly link: WorkerLink;
  readonly mailbox: Mailbox;
  readonly places: readonly FramePlace[];
  readonly frames: FrameTable;
  readonly vectors: VectorTable;
  readonly windows: WindowSet;
  readonly #options: PartsOptions;
  readonly #description: string;
  readonly #scratch: { readonly fd: Fd; readonly at: number; readonly lengthBytes: number };
  #thread: DeviceThread;
  #host: PartsHost | undefined;

  /** Builds everything and starts the device. @throws LessorError `FUNCTION_GONE` */
  static async create(options: PartsOptions): Promise<EmulatedParts> {
    const { device, name, os } = options;
    const thread = await DeviceThread.spawn(device, name, os.clock);
    let arena: Arena | undefined;
    let parts: EmulatedParts | undefined;
    try {
      arena = takeArena(os.memory, options.arenaBytes);
      parts = new EmulatedParts(options, thread, arena);
      await parts.#start(thread);
      return parts;
    } catch (error) {
      await thread.terminate();
      parts?.workerEnded();
      await parts?.release();
      if (!parts && arena) giveArena(os.memory, arena);
      throw error;
    }
  }

  private constructor(options: PartsOptions, thread: DeviceThread, arena: Arena) {
    const { os, name, log, helpers } = options;
    const { description } = thread;
    const pageBytes = os.memory.pageBytes;
    this.#options = options;
    this.#thread = thread;
    this.#description = JSON.stringify(description);
    this.log = log;
    this.info = functionInfo(name, description, options.epoch);
    this.arena = arena;
    this.view = new Words(this.arena.buffer);
    this.places = framesOf(description.regions, pageBytes);
    const shape = { frameCount: this.places.length, vectorCount: this.info.vectorCount };
    this.control = createControlBlock(shape);
    this.iommu = new FunctionIommu(this.arena, os.memory, os.clock, this.info.pasidBits);
    this.#scratch = this.#placeScratch();
    this.link = new WorkerLink(this.control, os.clock, () => this.iommu.wake());
    this.mailbox = new Mailbox(this.control, this.link, {
      clock: os.clock,
      deadlineMs: options.requestDeadlineMs,
      onSilence: () => this.#host?.silence(),
    });
    this.vectors = new VectorTable(this.control, this.link, os.events);
    const { control, link, view, places } = this;
    const scratchStart = this.#scratch.at;
    this.frames = new FrameTable({ control, link, view, pageBytes, places, scratchStart });
    this.windows = new WindowSet({
      name,
      memory: os.memory,
      helpers,
      arena: this.arena,
      view,
      pages: this.iommu.pages,
      frames: this.frames,
      places,
      regions: description.regions,
      reserved: this.info.reserved,
      device: {
        read: (...access) => this.#present().read(...access),
        write: (...access) => this.#present().write(...access),
      },
      clock: os.clock,
      log,
      exportWindow: (...range) => this.iommu.exportWindow(...range),
      checkPresent: () => this.#present().checkPresent(),
    });
  }

  get clock(): Clock {
    return this.#options.os.clock;
  }

  get thread(): DeviceThread {
    return this.#thread;
  }

  /** Names the function that the parts belong to. Once, before any of them is used. */
  connect(host: PartsHost): void {
    this.#host = host;
  }

  /** Starts the same device again after its thread ended. @throws LessorError `FUNCTION_GONE` */
  async startThread(): Promise<void> {
    const { device, name, os } = this.#options;
    const thread = await DeviceThread.spawn(device, name, os.clock);
    if (JSON.stringify(thread.description) !== this.#description) {
      await thread.terminate();
      throw new LessorError('FUNCTION_GONE', 'the device came back as another one');
    }
    this.#thread = thread;
    await this.#start(thread);
  }

  /** No thread of the device is left: whoever waits for it need not any more. */
  workerEnded(): void {
    this.link.workerEnded();
    this.iommu.workerGone();
  }

  /** Gives everything back. Only without a worker. */
  async release(): Promise<void> {
    assert(!this.link.isWorkerPresent, 'parts released under a worker');
    const { fd, at, lengthBytes } = this.#scratch;
    try {
      await this.windows.disposeAll();
      await this.iommu[Symbol.asyncDispose]();
      if (lengthBytes > 0) this.arena.clear(at, lengthBytes, undefined);
      // Only an arena that could be emptied is for the next function.
      giveArena(this.#options.os.memory, this.arena);
    } finally {
      this.vectors.closeAll();
      fd.close();
      this.link.close();
    }
  }

  #present(): PartsHost {
    assert(this.#host, 'parts without a function');
    return this.#host;
  }

  /** Pages that stand behind frames without a window: zeros until the device writes there. */
  #placeScratch(): { fd: Fd; at: number; lengthBytes: number } {
    const { memory } = this.#options.os;
    const lengthBytes = this.places.reduce((sum, place) => sum + place.lengthBytes, 0);
    const fd = memory.create(`lessor-scratch-${this.#options.name}`, lengthBytes);
    if (lengthBytes === 0) return { fd, at: 0, lengthBytes };
    try {
      const at = allocateArena(this.iommu.pages, lengthBytes);
      this.arena.place(at, fd, { offsetBytes: 0, lengthBytes, writable: true });
      return { fd, at, lengthBytes };
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  async #start(thread: DeviceThread): Promise<void> {
    const { os, idleSpinMs } = this.#options;
    await thread.start({
      shared: this.control.shared,
      shape: { frameCount: this.control.frames.length, vectorCount: this.control.vectors.length },
      places: this.places,
      pageBytes: os.memory.pageBytes,
      iommu: this.iommu.handles,
      arenaId: this.arena.id,
      idleSpinMs,
    });
  }
}
