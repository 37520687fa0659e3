// A window of a served function with memory of its own: a memfd that is made, sealed and truncated
// here, and that the server shows the device from connect to detach. This process never maps it;
// its own accesses are messages.
import { errnoOf, isOsError, LessorError } from '../../base/errors.js';
import { Listeners } from '../../base/listeners.js';
import type { Logger } from '../../base/log.js';
import type { Fd } from '../../os/fd.js';
import type { HelperPool } from '../../os/helper-types.js';
import type { MemoryOs } from '../../os/memory-types.js';
import { windowCommand, windowCommandRecord } from '../../uapi/window-region.js';
import type { ReconnectingClient } from '../../vfio-user/reconnect.js';
import { type DeviceAccess, MessageWindow } from '../message-window.js';
import type { BackingSpec, Registers, Window } from '../types.js';
import { WindowHelpers } from '../window-helpers.js';

export interface MappedWindowMemory {
  /** Writable, for truncation. */
  readonly ownFd: Fd;
  /** What the holder maps. The same object as `ownFd` for a read-write window. */
  readonly clientFd: Fd;
  /** Where the server has it. */
  readonly iova: number;
}

export interface MappedWindowParts {
  readonly spec: BackingSpec;
  readonly lengthBytes: number;
  readonly window: MappedWindowMemory;
  readonly uid: number;
  readonly client: ReconnectingClient;
  /** Region of commands. */
  readonly commands: number;
  readonly device: DeviceAccess;
  readonly memory: MemoryOs;
  readonly helpers: HelperPool;
  readonly log: Logger;
  /** Called once, when the server has nothing of the window any more. */
  readonly release: (window: MappedWindow) => void;
}

/**
 * Resolves when the device no longer sees the memory: by the server's answer, or with the end of
 * the connection that it was mapped on.
 */
export async function takeBackWindow(
  client: ReconnectingClient,
  iova: number,
  lengthBytes: number,
): Promise<void> {
  try {
    await client.dmaUnmap({ iova: BigInt(iova), lengthBytes: BigInt(lengthBytes) });
  } catch (error) {
    if (!(error instanceof Error) || errnoOf(error) === undefined) throw error;
    // It keeps memory that it was told to let go: nothing it does can be relied on.
    client.giveUp(error);
  }
}

export class MappedWindow implements Window {
  readonly revocation = 'kernel';
  /** Its server has nothing that could be mapped at a second place and taken back alone. */
  readonly isDmaTarget = false;
  readonly lengthBytes: number;
  readonly registers: Registers;
  readonly #parts: MappedWindowParts;
  readonly #messages: MessageWindow;
  readonly #truncated = new Listeners<void>();
  readonly #helpers: WindowHelpers;
  #state: 'open' | 'connecting' | 'connected' | 'detached' = 'open';
  #isTruncated = false;
  #connecting: Promise<void> | undefined;
  #detaching: Promise<void> | undefined;
  #disposing: Promise<void> | undefined;

  constructor(parts: MappedWindowParts) {
    const { spec, lengthBytes } = parts;
    this.#parts = parts;
    this.lengthBytes = lengthBytes;
    this.#helpers = new WindowHelpers({ ...parts, fd: parts.window.ownFd });
    this.#messages = new MessageWindow(spec, lengthBytes, this.#watched(), () => undefined);
    this.registers = this.#messages.registers;
  }

  get fd(): Fd {
    return this.#parts.window.clientFd;
  }

  get isConnected(): boolean {
    return this.#state === 'connected';
  }

  async connect(): Promise<void> {
    if (this.#state === 'connected') return;
    if (this.#state === 'detached') {
      throw new LessorError('WINDOW_REVOKED', 'the window was detached');
    }
    this.#connecting ??= this.#connect();
    await this.#connecting;
  }

  detach(): Promise<void> {
    this.#detaching ??= this.#detach();
    return this.#detaching;
  }

  async zap(deadlineMs: number): Promise<'gone' | 'orphan'> {
    await this.detach();
    if (this.#disposing) throw new LessorError('WINDOW_REVOKED', 'the window was disposed');
    // A server that kept its mapping in spite of what it answered loses the bytes too.
    return this.#helpers.zap(deadlineMs);
  }

  /** Noticed when a message next reaches the window. */
  onTruncated(listener: () => void): Disposable {
    return this.#truncated.add(listener);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#dispose();
    return this.#disposing;
  }

  async #connect(): Promise<void> {
    this.#state = 'connecting';
    try {
      await this.#helpers.seal();
      await this.#join();
      this.#checkConnecting();
      await this.#messages.connect();
      this.#state = 'connected';
    } catch (error) {
      await this.detach();
      throw error;
    }
  }

  /** The device starts from all zeros: the server sees to it. */
  async #join(): Promise<void> {
    const { spec, window, client, commands } = this.#parts;
    let iova = window.iova;
    for (const { offsetBytes: offset, lengthBytes: length } of spec.ranges) {
      this.#checkConnecting();
      const join = { command: windowCommand.join, region: spec.region, offset, length, iova };
      const record = windowCommandRecord.encode(join);
      await client
        .run((device) => device.regionWrite(commands, 0, record))
        .catch((error) => {
          this.#checkMemory();
          if (!isOsError(error)) throw error;
          const detail = `the server joined no window: ${error.errno}`;
          throw new LessorError('SYSTEM_FAILED', detail, { cause: error });
        });
      iova += length;
    }
    this.#checkMemory();
  }

  #checkConnecting(): void {
    if (this.#state === 'connecting') return;
    throw new LessorError('WINDOW_REVOKED', 'the window was detached while it was connected');
  }

  #checkMemory(): void {
    if (!this.#checkTruncated()) return;
    throw new LessorError('WINDOW_SEALS', 'the holder truncated the window');
  }

  /** True when the memory has another length than it was made with. */
  #checkTruncated(): boolean {
    const { memory, window } = this.#parts;
    if (this.#isTruncated) return true;
    if (memory.identity(window.ownFd).lengthBytes === this.lengthBytes) return false;
    this.#isTruncated = true;
    queueMicrotask(() => this.#truncated.emit());
    return true;
  }

  /** The device's registers; every access looks whether the memory is still there. */
  #watched(): DeviceAccess {
    const { device } = this.#parts;
    const watch = (): void => {
      if (this.#state === 'connected') this.#checkTruncated();
    };
    return {
      read: async (...place) => {
        const value = await device.read(...place);
        watch();
        return value;
      },
      write: async (...place) => {
        await device.write(...place);
        watch();
      },
    };
  }

  async #detach(): Promise<void> {
    this.#state = 'detached';
    const { client, window } = this.#parts;
    // The cut for who maps it: the server's answer.
    const unmapped = takeBackWindow(client, window.iova, this.lengthBytes);
    await Promise.all([this.#messages.detach(), unmapped]);
  }

  async #dispose(): Promise<void> {
    await this.detach();
    await this.#helpers.settled();
    const { window, release } = this.#parts;
    window.clientFd.close();
    window.ownFd.close();
    release(this);
  }
}
