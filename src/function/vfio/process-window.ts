// A window of whoever has the device itself: mapped from its descriptor, and taken back by the end
// of the process that has it.
import type { Fd } from '../../os/fd.js';
import { type DeviceAccess, MessageWindow } from '../message-window.js';
import type { BackingSpec, DeviceHolder, Registers, Window } from '../types.js';
import type { VfioRegion } from './types.js';

export interface ProcessWindowParts {
  readonly spec: BackingSpec;
  readonly lengthBytes: number;
  readonly region: Pick<VfioRegion, 'fileOffsetBytes'>;
  /** A duplicate of the device's descriptor. Owned by the window. */
  readonly device: Fd;
  readonly holder: DeviceHolder;
  readonly access: DeviceAccess;
  /** Called once, when nothing reaches the ranges through this window any more. */
  readonly release: (window: ProcessWindow) => void;
}

/**
 * The descriptor is the device: its holder maps these ranges, and can map any other, configure
 * interrupts and reset. The kernel takes nothing of that back as long as one descriptor or mapping
 * of it is left, so the cut is the holder's end, which the kernel tells: a process is dead for its
 * pidfd after all that it had open and mapped is gone. What it passed on to another is not seen.
 *
 * The descriptor leaves the broker after the grant, as that of a window of the kernel's does;
 * `connect` opens the way by message. It is closed with `detach`, whatever becomes of the holder.
 */
export class ProcessWindow implements Window {
  readonly revocation = 'process';
  readonly isDmaTarget = false;
  readonly regionOffsetBytes: number;
  readonly lengthBytes: number;
  readonly registers: Registers;
  readonly #parts: ProcessWindowParts;
  readonly #messages: MessageWindow;
  #isReleased = false;

  constructor(parts: ProcessWindowParts) {
    const { spec, lengthBytes, access, region } = parts;
    this.#parts = parts;
    this.lengthBytes = lengthBytes;
    this.regionOffsetBytes = region.fileOffsetBytes;
    this.#messages = new MessageWindow(spec, lengthBytes, access, () => undefined);
    this.registers = this.#messages.registers;
  }

  /** Until `detach`: nobody gets it after. */
  get fd(): Fd | undefined {
    const { device } = this.#parts;
    return device.isOpen ? device : undefined;
  }

  /** Nothing of it can be sealed or resized: never `WINDOW_SEALS`. */
  connect(): Promise<void> {
    return this.#messages.connect();
  }

  /** The cut: the holder is dead. @throws as `DeviceHolder.end`; may be tried again then */
  async detach(): Promise<void> {
    this.#parts.device.close();
    await Promise.all([this.#messages.detach(), this.#parts.holder.end()]);
  }

  /** The dead have no mappings. */
  async zap(): Promise<'gone'> {
    await this.detach();
    return 'gone';
  }

  /** A device has the length that it has: never called. */
  onTruncated(): Disposable {
    return { [Symbol.dispose]() {} };
  }

  /** The ranges stay taken as long as the holder lives. @throws as `detach` */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.detach();
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#parts.release(this);
  }
}
