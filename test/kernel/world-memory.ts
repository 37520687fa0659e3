// The memory of this process, as the soft iommufd asks for it: only the world's stretches exist.
import { OsError } from '../../src/base/errors.js';
import type { MemoryPiece, PinnableMemory, UserMemory } from '../../src/iommu/user-memory.js';
import type { WorldMemory } from './memory.js';

export class WorldUserMemory implements UserMemory, PinnableMemory {
  readonly #memory: WorldMemory;

  constructor(memory: WorldMemory) {
    this.#memory = memory;
  }

  read(address: bigint, lengthBytes: number): Uint8Array {
    const bytes = this.#memory.at(address, lengthBytes);
    if (bytes === undefined) throw new OsError('EFAULT', 'read', `0x${address.toString(16)}`);
    return Uint8Array.from(bytes);
  }

  write(address: bigint, data: Uint8Array): void {
    const stretch = this.#memory.stretchAt(address);
    const start = Number(address) - this.#memory.base;
    if (stretch?.isWritable !== true) {
      throw new OsError('EFAULT', 'write', `0x${address.toString(16)}`);
    }
    const end = stretch.start + stretch.lengthBytes - this.#memory.base;
    this.#memory.bytes.set(data.subarray(0, end - start), start);
    if (start + data.length > end) throw new OsError('EFAULT', 'write', `0x${end.toString(16)}`);
  }

  resolve(
    address: bigint,
    lengthBytes: number,
    isWritable: boolean,
  ): readonly MemoryPiece[] | undefined {
    const stretch = this.#memory.stretchAt(address);
    if (stretch === undefined || (isWritable && !stretch.isWritable)) return undefined;
    const skipped = Number(address) - stretch.start;
    if (skipped + lengthBytes > stretch.lengthBytes) return undefined;
    return [{ fd: stretch.fd, offsetBytes: stretch.offsetBytes + skipped, lengthBytes }];
  }
}
