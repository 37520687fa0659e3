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
  readonly #fd: number;
  readonly #descriptors = new Set<number>();

  /** @throws OsError when there is no /dev/iommu for this user. */
  constructor(native: NativeBinding, memory: WorldMemory) {
    this.#native = native;
    this.#memory = memory;
    this.#fd = native.open('/dev/iommu', O_RDWR);
    if (this.#fd < 0) throw new OsError(errnoName(-this.#fd), 'open', '/dev/iommu');
  }

  ioctl(request: number, argument: number): Outcome {
    return { result: this.#native.ioctl(this.#fd, request, argument) };
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
    this.#native.close(this.#fd);
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
