// A PciFunction in the hands of the kernel: vfio-pci has the device, the IOMMU stands before it.

import type { Clock } from '../../base/clock.js';
import { LessorError } from '../../base/errors.js';
import { Listeners } from '../../base/listeners.js';
import type { Logger } from '../../base/log.js';
import type { Fd } from '../../os/fd.js';
import { createRegisters } from '../register-access.js';
import type {
  BackingSpec,
  DmaFault,
  DmaPort,
  FunctionEvent,
  FunctionInfo,
  PciFunction,
  Registers,
  Window,
  WindowTerms,
} from '../types.js';
import { enableFunction, isGone } from './config-space.js';
import type { VfioInterrupts } from './interrupts.js';
import type { OpenedDevice } from './opened-device.js';
import type { VfioRegisters } from './registers.js';
import { resetDevice } from './reset.js';
import type { Teardown } from './teardown.js';
import type { VfioDevice } from './types.js';

/** Its windows, as far as the function has to do with them. */
export interface FunctionWindows {
  open(spec: BackingSpec, info: FunctionInfo, terms: WindowTerms): Promise<Window>;
}

export interface VfioFunctionParts {
  readonly opened: OpenedDevice;
  readonly device: VfioDevice;
  readonly registers: VfioRegisters;
  readonly windows: FunctionWindows;
  readonly interrupts: VfioInterrupts;
  /** Ends all of the above in order. */
  readonly teardown: Teardown;
  readonly info: FunctionInfo;
  readonly clock: Clock;
  readonly log: Logger;
}

export class VfioFunction implements PciFunction {
  readonly dma: DmaPort;
  readonly #parts: VfioFunctionParts;
  readonly #events = new Listeners<FunctionEvent>();
  #info: FunctionInfo;
  #gone: string | undefined;

  constructor(parts: VfioFunctionParts) {
    this.#parts = parts;
    this.#info = parts.info;
    this.dma = {
      open: async (options) => {
        this.#checkPresent();
        return parts.opened.spaces.open(options);
      },
    };
    void parts.opened.spaces.ended.then((detail) => this.lose(detail));
  }

  get info(): FunctionInfo {
    return this.#info;
  }

  registers(region: number): Registers {
    const found = this.#info.regions.find((candidate) => candidate.index === region);
    if (!found) throw new LessorError('INVALID_ARGUMENT', `the function has no region ${region}`);
    const { registers } = this.#parts;
    return createRegisters(found.lengthBytes, {
      read: (offsetBytes, width) => registers.read(region, offsetBytes, width),
      write: (offsetBytes, width, value) => registers.write(region, offsetBytes, width, value),
    });
  }

  async openWindow(spec: BackingSpec, terms: WindowTerms): Promise<Window> {
    this.#checkPresent();
    return this.#parts.windows.open(spec, this.#info, terms);
  }

  async setInterrupt(vector: number, target: Fd | undefined): Promise<void> {
    if (this.#gone === undefined) return this.#parts.interrupts.bind(vector, target);
    target?.close();
    // Vectors of what is gone ring nothing once its parts are.
    if (target === undefined) return this.#parts.teardown.run();
    this.#checkPresent();
  }

  /** A doorbell that came by message has reached the device: there is nobody to wake. */
  kick(): void {}

  async reset(signal: AbortSignal): Promise<void> {
    this.#checkPresent();
    signal.throwIfAborted();
    const done = this.#reset(signal);
    this.#parts.registers.holdUntil(done);
    // The kernel cannot be told to leave it: what is under way ends with the function.
    await Promise.race([done, this.#loseWhen(signal, done)]);
    this.#checkPresent();
    this.#info = { ...this.#info, epoch: this.#info.epoch + 1 };
  }

  onEvent(listener: (event: FunctionEvent) => void): Disposable {
    return this.#events.add(listener);
  }

  /** The IOMMU refused DMA of the function. */
  reportFault(fault: DmaFault): void {
    if (this.#gone === undefined) this.#events.emit({ type: 'fault', fault });
  }

  /** The device reported an error: it may be the last that it said. */
  reportError(): void {
    if (this.#gone !== undefined) return;
    if (isGone(this.#parts.device)) {
      this.lose('the device reported an error and does not answer');
      return;
    }
    this.#parts.log.error('the device reported an error', { name: this.#info.name });
    this.#events.emit({ type: 'error', detail: 'the device reported an error on its bus' });
  }

  /** A register read all ones, or could not be read. */
  checkAlive(): void {
    if (this.#gone === undefined && isGone(this.#parts.device)) {
      this.lose('the device does not answer');
    }
  }

  /**
   * The function is gone, for this broker at least: everything of it is closed, which is what a
   * host that wants it back waits for.
   */
  lose(detail: string): void {
    if (this.#gone !== undefined) return;
    const { registers, teardown, log } = this.#parts;
    this.#gone = detail;
    log.error('function gone', { name: this.#info.name, detail });
    registers.close(detail);
    this.#events.emit({ type: 'gone', detail });
    void teardown.run();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#gone ??= 'the function was closed';
    this.#parts.registers.close(this.#gone);
    return this.#parts.teardown.run();
  }

  async #reset(signal: AbortSignal): Promise<void> {
    const { device, opened, clock } = this.#parts;
    await resetDevice(device, opened.groupFd, clock, signal);
    if (this.#gone !== undefined) return;
    if (isGone(device)) this.lose('the device does not answer after a reset');
    else enableFunction(device);
  }

  /** Rejects, with the function lost, when the signal comes before the reset is over. */
  #loseWhen(signal: AbortSignal, done: Promise<void>): Promise<never> {
    const detail = 'the reset was not answered in time';
    return new Promise((_resolve, reject) => {
      const late = (): void => {
        this.lose(detail);
        reject(new LessorError('DEADLINE_EXCEEDED', detail));
      };
      signal.addEventListener('abort', late, { once: true });
      const over = (): void => signal.removeEventListener('abort', late);
      done.then(over, over);
    });
  }

  #checkPresent(): void {
    if (this.#gone !== undefined) throw new LessorError('FUNCTION_GONE', this.#gone);
  }
}
