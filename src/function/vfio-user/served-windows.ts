// Windows of a served function: with memory of their own where the server offers it, else reached
// by message. A range is of one window at a time, and a window is of one life of the server.
import { errnoOf, LessorError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { Fd } from '../../os/fd.js';
import type { HelperPool } from '../../os/helper-types.js';
import { F_SEAL_GROW, type MemoryOs } from '../../os/memory-types.js';
import { windowCommand, windowCommandRecord } from '../../uapi/window-region.js';
import type { ReconnectingClient } from '../../vfio-user/reconnect.js';
import { planWindow } from '../frame-map.js';
import { type DeviceAccess, MessageWindow } from '../message-window.js';
import type { BackingSpec, FunctionInfo, Window } from '../types.js';
import { checkApart } from '../window-ranges.js';
import { sealWindow } from '../window-seals.js';
import { MappedWindow, type MappedWindowMemory, takeBackWindow } from './mapped-window.js';
import type { WindowOffer } from './window-region.js';
import { WindowSlots } from './window-slots.js';

export interface ServedWindowsParts {
  /** Shows in the names of the windows' memory. */
  readonly name: string;
  readonly client: ReconnectingClient;
  readonly device: DeviceAccess;
  /** Undefined: all windows are reached by message. */
  readonly offer: WindowOffer | undefined;
  readonly memory: MemoryOs;
  readonly helpers: HelperPool;
  readonly log: Logger;
}

const wakeRecord = windowCommandRecord.encode({
  command: windowCommand.wake,
  region: 0,
  offset: 0,
  length: 0,
  iova: 0,
});

export class ServedWindows {
  readonly #parts: ServedWindowsParts;
  readonly #open = new Map<Window, BackingSpec>();
  /** Ranges of windows that are being made. */
  readonly #coming = new Set<BackingSpec>();
  readonly #slots = new WindowSlots();
  #serial = 0;
  /** A wake is under way: one that comes meanwhile follows it. */
  #waking: 'no' | 'once' | 'again' = 'no';

  constructor(parts: ServedWindowsParts) {
    this.#parts = parts;
  }

  /**
   * @throws LessorError `INVALID_ARGUMENT` for ranges that are no window, or part of another;
   *   `WINDOW_SEALS` when the server meddled with the memory; as requests to the server do.
   */
  async open(spec: BackingSpec, info: FunctionInfo, uid: number): Promise<Window> {
    const { offer } = this.#parts;
    const plan = planWindow(spec, info.regions, offer?.places ?? [], info.reserved);
    checkApart(spec, [...this.#open.values(), ...this.#coming]);
    const isMapped = offer !== undefined && plan.frames.length > 0;
    if (!isMapped) {
      const release = (which: MessageWindow): boolean => this.#open.delete(which);
      const window = new MessageWindow(spec, plan.lengthBytes, this.#parts.device, release);
      this.#open.set(window, spec);
      return window;
    }
    this.#coming.add(spec);
    try {
      return await this.#openMapped(spec, plan.lengthBytes, offer.region, uid);
    } finally {
      this.#coming.delete(spec);
    }
  }

  /** Has the device look at what clients stored in its windows. Cheap; at most one under way. */
  wake(): void {
    if (this.#waking !== 'no') {
      this.#waking = 'again';
      return;
    }
    const windows = [...this.#open.keys()];
    if (!windows.some((window) => window instanceof MappedWindow && window.isConnected)) return;
    void this.#wake();
  }

  /** Cuts every window off: accesses that are not under way yet reach no server any more. */
  async cut(): Promise<void> {
    await Promise.all([...this.#open.keys()].map((window) => window.detach()));
  }

  async disposeAll(): Promise<void> {
    await Promise.all([...this.#open.keys()].map((window) => window[Symbol.asyncDispose]()));
  }

  async #wake(): Promise<void> {
    const { client, offer } = this.#parts;
    if (offer === undefined) return;
    do {
      this.#waking = 'once';
      try {
        await client.run((device) => device.regionWrite(offer.region, 0, wakeRecord));
      } catch (error) {
        // Without a server there is nobody to wake.
        if (errnoOf(error) === undefined) throw error;
      }
    } while ((this.#waking as string) === 'again');
    this.#waking = 'no';
  }

  async #openMapped(
    spec: BackingSpec,
    lengthBytes: number,
    commands: number,
    uid: number,
  ): Promise<Window> {
    const iova = this.#slots.take();
    let memory: MappedWindowMemory;
    try {
      memory = await this.#makeMemory(spec, lengthBytes, iova, uid);
    } catch (error) {
      this.#slots.give(iova);
      throw error;
    }
    const release = (which: MappedWindow): void => {
      this.#open.delete(which);
      this.#slots.give(iova);
    };
    const parts = { ...this.#parts, spec, lengthBytes, window: memory, uid, commands, release };
    const window = new MappedWindow(parts);
    this.#open.set(window, spec);
    return window;
  }

  /** Memory that the server has mapped: after the seals nobody can map it writable any more. */
  async #makeMemory(
    spec: BackingSpec,
    lengthBytes: number,
    iova: number,
    uid: number,
  ): Promise<MappedWindowMemory> {
    const { name, client, memory, helpers } = this.#parts;
    const server = client.client;
    const serial = this.#serial++;
    const ownFd = memory.create(`lessor-window-${name}-${serial}`, lengthBytes);
    let clientFd = ownFd;
    try {
      memory.addSeals(ownFd, F_SEAL_GROW);
      if (spec.access === 'read') {
        memory.setMode(ownFd, 0o400);
        clientFd = memory.reopenReadOnly(ownFd);
      }
      await this.#giveToServer(ownFd, lengthBytes, iova);
      if (spec.access === 'read') await this.#sealGiven(helpers, ownFd, lengthBytes, iova, uid);
      if (client.client !== server) {
        throw new LessorError('SERVER_GONE', 'the server went away while a window was made');
      }
      return { ownFd, clientFd, iova };
    } catch (error) {
      if (clientFd !== ownFd) clientFd.close();
      ownFd.close();
      throw error;
    }
  }

  async #sealGiven(
    helpers: HelperPool,
    fd: Fd,
    lengthBytes: number,
    iova: number,
    uid: number,
  ): Promise<void> {
    try {
      await sealWindow(helpers, fd, lengthBytes, uid);
    } catch (error) {
      await takeBackWindow(this.#parts.client, iova, lengthBytes);
      throw error;
    }
  }

  /** Without any permission: the device's own DMA does not reach the window. */
  async #giveToServer(fd: Fd, lengthBytes: number, iova: number): Promise<void> {
    await this.#parts.client.dmaMap({
      iova: BigInt(iova),
      lengthBytes: BigInt(lengthBytes),
      offsetBytes: 0n,
      readable: false,
      writable: false,
      fd: fd.duplicate(),
    });
  }
}
