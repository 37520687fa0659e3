// A window without memory: only messages reach it, and the device answers by callback.
import { LessorError } from '../base/errors.js';
import { hex } from '../base/units.js';
import type { Value, Width } from '../device/types.js';
import { allOnes, createRegisters } from './register-access.js';
import type { BackingSpec, Registers, Window } from './types.js';

/** Access to the device's own registers, by region and offset. */
export interface DeviceAccess {
  read(region: number, offsetBytes: number, width: Width): Promise<Value>;
  write(region: number, offsetBytes: number, width: Width, value: Value): Promise<void>;
}

export class MessageWindow implements Window {
  readonly fd = undefined;
  readonly revocation = 'mediated';
  readonly isDmaTarget = false;
  readonly lengthBytes: number;
  readonly registers: Registers;
  readonly #spec: BackingSpec;
  readonly #release: (window: MessageWindow) => void;
  /** Accesses under way: the cut waits for them. */
  readonly #pending = new Set<Promise<unknown>>();
  #state: 'open' | 'connected' | 'detached' = 'open';

  constructor(
    spec: BackingSpec,
    lengthBytes: number,
    device: DeviceAccess,
    release: (window: MessageWindow) => void,
  ) {
    this.#spec = spec;
    this.lengthBytes = lengthBytes;
    this.#release = release;
    this.registers = createRegisters(lengthBytes, {
      read: (offsetBytes, width) => {
        if (this.#state !== 'connected') return allOnes(width);
        return this.#track(device.read(spec.region, this.#regionOffset(offsetBytes), width));
      },
      write: (offsetBytes, width, value) => {
        if (spec.access === 'read') {
          throw new LessorError('WINDOW_READ_ONLY', `a write at ${hex(offsetBytes)}`);
        }
        if (this.#state !== 'connected') return undefined;
        return this.#track(
          device.write(spec.region, this.#regionOffset(offsetBytes), width, value),
        );
      },
    });
  }

  async connect(): Promise<void> {
    if (this.#state === 'detached') {
      throw new LessorError('WINDOW_REVOKED', 'the window was detached');
    }
    this.#state = 'connected';
  }

  async detach(): Promise<void> {
    this.#state = 'detached';
    await Promise.allSettled(this.#pending);
  }

  async zap(): Promise<'gone'> {
    await this.detach();
    return 'gone';
  }

  /** There is no memory to truncate: never called. */
  onTruncated(): Disposable {
    return { [Symbol.dispose]() {} };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.detach();
    this.#release(this);
  }

  #track<T>(access: Promise<T>): Promise<T> {
    const settled = access.then(
      () => undefined,
      () => undefined,
    );
    this.#pending.add(settled);
    void settled.then(() => this.#pending.delete(settled));
    return access;
  }

  /** Ranges lie one after the other in the window; all are multiples of 8 bytes. */
  #regionOffset(offsetBytes: number): number {
    let left = offsetBytes;
    for (const range of this.#spec.ranges) {
      if (left < range.lengthBytes) return range.offsetBytes + left;
      left -= range.lengthBytes;
    }
    throw new LessorError('INVALID_ARGUMENT', `${hex(offsetBytes)} is outside the window`);
  }
}
