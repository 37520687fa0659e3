// /dev/iommu: one context of the kernel.
import { readSync, writeSync } from 'node:fs';
import { errnoName } from '../../src/base/errno.js';
import { OsError } from '../../src/base/errors.js';
import type { NativeBinding } from '../../src/os/native.js';
import type { WorldMemory } from './memory.js';
import type { Outcome, Side } from './side.js';

const O_RDWR = 2;

export class KernelSide implements Side {
  readonly name = 'the kernel';
  readonly #native: NativeBinding;
  readonly #memory: WorldMemory;
  readonly context: number;
  readonly #devicePath: () => string;
  /** With the iommufd's own. */
  readonly #descriptors = new Set<number>();

  /**
   * @param devicePath - Of the character device.
   * @throws OsError when there is no /dev/iommu for this user.
   */
  constructor(native: NativeBinding, memory: WorldMemory, devicePath: () => string) {
    this.#native = native;
    this.#memory = memory;
    this.#devicePath = devicePath;
    this.context = native.open('/dev/iommu', O_RDWR);
    if (this.context < 0) throw new OsError(errnoName(-this.context), 'open', '/dev/iommu');
    this.#descriptors.add(this.context);
  }

  ioctl(request: number, argument: number): Outcome {
    const isOpen = this.#descriptors.has(this.context);
    return { result: this.#native.ioctl(isOpen ? this.context : -1, request, argument) };
  }

  openDevice(): Outcome {
    const descriptor = this.#native.open(this.#devicePath(), O_RDWR);
    if (descriptor < 0) return { result: descriptor };
    this.adopt(descriptor);
    return { result: 0, descriptor };
  }

  deviceIoctl(descriptor: number, request: number, argument: number): Outcome {
    const isOpen = this.#descriptors.has(descriptor);
    return { result: this.#native.ioctl(isOpen ? descriptor : -1, request, argument) };
  }

  read(descriptor: number, address: number, lengthBytes: number): Outcome {
    const { bytes, base } = this.#memory;
    return call(() => readSync(descriptor, bytes, address - base, lengthBytes, null));
  }

  write(descriptor: number, address: number, lengthBytes: number): Outcome {
    const { bytes, base } = this.#memory;
    return call(() => writeSync(descriptor, bytes, address - base, lengthBytes, null));
  }

  adopt(descriptor: number): void {
    this.#descriptors.add(descriptor);
  }

  closeDescriptor(descriptor: number): void {
    if (this.#descriptors.delete(descriptor)) this.#native.close(descriptor);
  }

  close(): void {
    for (const descriptor of this.#descriptors) this.#native.close(descriptor);
    this.#descriptors.clear();
  }
}

function call(action: () => number): Outcome {
  try {
    return { result: action() };
  } catch (error) {
    const { errno } = error as { errno?: number };
    if (errno === undefined) throw error;
    return { result: errno };
  }
}
