// The soft iommufd by bytes: one context.
import { errnoNumber } from '../../src/base/errno.js';
import { isOsError } from '../../src/base/errors.js';
import { SoftFiles } from '../../src/iommu/soft/ioctl/soft-files.js';
import { SoftIommuFile } from '../../src/iommu/soft/ioctl/soft-iommu-file.js';
import { SoftIommufd } from '../../src/iommu/soft/soft-iommufd.js';
import type { Fd } from '../../src/os/fd.js';
import type { WorldMemory } from './memory.js';
import type { Outcome, Side } from './side.js';
import { SoftMock } from './soft-mock.js';
import type { SoftParts } from './soft-parts.js';
import { WorldUserMemory } from './world-memory.js';

export class SoftSide implements Side {
  readonly name = 'the soft iommufd';
  readonly iommufd: SoftIommufd;
  readonly #memory: WorldMemory;
  readonly #files = new SoftFiles();
  readonly #file: SoftIommuFile;
  readonly #descriptors = new Set<number>();

  /** @param descriptors - What the calling process has open, beside what calls return. */
  constructor(parts: SoftParts, memory: WorldMemory, descriptors: readonly Fd[]) {
    const { pool, extents, invalidation, lockedMemory } = parts;
    const userMemory = new WorldUserMemory(memory);
    this.iommufd = new SoftIommufd({
      ...{ pool, extents, invalidation, lockedMemory, userMemory },
      keepsFiles: true,
    });
    this.#memory = memory;
    // The standard streams are open, too.
    for (const number of [0, 1, 2])
      this.#files.addAt(number, { kind: 'memory', fd: descriptors[0]! });
    for (const fd of descriptors) {
      if (this.#files.get(fd.number) === undefined) {
        this.#files.addAt(fd.number, { kind: 'memory', fd });
      }
    }
    const mock = new SoftMock(parts, this.iommufd, memory);
    this.#file = new SoftIommuFile({
      iommufd: this.iommufd,
      files: this.#files,
      memory: userMemory,
      moreCommands: [mock.command],
    });
  }

  ioctl(request: number, argument: number): Outcome {
    return outcome(() => this.#file.ioctl(request, BigInt(argument)));
  }

  read(descriptor: number, address: number, lengthBytes: number): Outcome {
    return outcome(() => {
      const data = this.#files.read(descriptor, lengthBytes);
      this.#memory.bytes.set(data, address - this.#memory.base);
      return data.length;
    });
  }

  write(descriptor: number, address: number, lengthBytes: number): Outcome {
    const start = address - this.#memory.base;
    const data = Uint8Array.from(this.#memory.bytes.subarray(start, start + lengthBytes));
    return outcome(() => this.#files.write(descriptor, data));
  }

  adopt(descriptor: number): void {
    this.#descriptors.add(descriptor);
  }

  closeDescriptor(descriptor: number): void {
    if (this.#descriptors.delete(descriptor)) this.#files.close(descriptor);
  }

  close(): void {
    for (const descriptor of this.#descriptors) this.#files.close(descriptor);
    this.#descriptors.clear();
    this.iommufd[Symbol.dispose]();
  }
}

/** Everything that is no errno is a bug of the soft iommufd. */
function outcome(action: () => number): Outcome {
  try {
    return { result: action() };
  } catch (error) {
    if (isOsError(error)) return { result: -errnoNumber(error.errno) };
    return {
      result: 0,
      crash: error instanceof Error ? (error.stack ?? error.message) : `${error}`,
    };
  }
}
