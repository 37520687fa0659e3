// The soft iommufd by bytes: one context.
import { errnoNumber } from '../../src/base/errno.js';
import { isOsError, OsError } from '../../src/base/errors.js';
import { SoftDeviceFile } from '../../src/iommu/soft/ioctl/soft-device-file.js';
import { SoftFiles } from '../../src/iommu/soft/ioctl/soft-files.js';
import { SoftIommuFile } from '../../src/iommu/soft/ioctl/soft-iommu-file.js';
import { SoftIommufd } from '../../src/iommu/soft/soft-iommufd.js';
import { SoftUnit } from '../../src/iommu/soft/soft-unit.js';
import type { UnitTraits } from '../../src/iommu/soft/traits.js';
import type { Fd } from '../../src/os/fd.js';
import type { WorldMemory } from './memory.js';
import type { Outcome, Side } from './side.js';
import { SoftMock } from './soft-mock.js';
import type { SoftParts } from './soft-parts.js';
import { WorldUserMemory } from './world-memory.js';

export interface SoftSideOptions {
  readonly parts: SoftParts;
  readonly memory: WorldMemory;
  /** What the calling process has open, beside what calls return. */
  readonly descriptors: readonly Fd[];
  /** Of the one device that can be opened. */
  readonly deviceTraits: () => UnitTraits;
}

export class SoftSide implements Side {
  readonly name = 'the soft iommufd';
  readonly iommufd: SoftIommufd;
  readonly #memory: WorldMemory;
  readonly #files = new SoftFiles();
  readonly #file: SoftIommuFile;
  readonly context: number;
  readonly #userMemory: WorldUserMemory;
  readonly #deviceTraits: () => UnitTraits;
  /** What every open file of the device stands for. */
  #unit: SoftUnit | undefined;
  readonly #devices = new Map<number, SoftDeviceFile>();
  /** What stands for a file that is no memory. */
  readonly #anyFd: Fd;
  /** With the iommufd's own. */
  readonly #descriptors = new Set<number>();

  constructor({ parts, memory, descriptors, deviceTraits }: SoftSideOptions) {
    const { pool, extents, invalidation, lockedMemory } = parts;
    const userMemory = new WorldUserMemory(memory);
    this.#userMemory = userMemory;
    this.#deviceTraits = deviceTraits;
    this.#anyFd = descriptors[0]!;
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
    this.context = this.#files.add({ kind: 'iommufd', file: this.#file });
    this.#descriptors.add(this.context);
  }

  ioctl(request: number, argument: number): Outcome {
    return outcome(() => {
      this.#checkOpen(this.context);
      return this.#file.ioctl(request, BigInt(argument));
    });
  }

  openDevice(): Outcome {
    this.#unit ??= new SoftUnit({ traits: this.#deviceTraits() });
    const descriptor = this.#files.add({ kind: 'memory', fd: this.#anyFd });
    const options = { unit: this.#unit, memory: this.#userMemory, files: this.#files };
    this.#devices.set(descriptor, new SoftDeviceFile(options));
    this.adopt(descriptor);
    return { result: 0, descriptor };
  }

  deviceIoctl(descriptor: number, request: number, argument: number): Outcome {
    return outcome(() => {
      this.#checkOpen(descriptor);
      return this.#devices.get(descriptor)!.ioctl(request, BigInt(argument));
    });
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
    if (!this.#descriptors.delete(descriptor)) return;
    this.#files.close(descriptor);
    if (descriptor === this.context) this.iommufd.close();
    this.#devices.get(descriptor)?.close();
    this.#devices.delete(descriptor);
  }

  close(): void {
    for (const descriptor of [...this.#descriptors]) this.closeDescriptor(descriptor);
    this.iommufd[Symbol.dispose]();
  }

  #checkOpen(descriptor: number): void {
    if (!this.#descriptors.has(descriptor)) throw new OsError('EBADF', 'ioctl', `${descriptor}`);
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
