// A memory object that a benchmark shares with its children, mapped as the SDK maps a window.
import { Fd } from '../src/os/fd.js';
import { createMemoryOs } from '../src/os/memory.js';
import type { Mapping } from '../src/os/memory-types.js';
import { loadNative } from '../src/os/native.js';

const native = loadNative();
export const memoryOs = createMemoryOs(native);

/** The descriptor number at which children find it, as floor/floor.h says. */
const sharedFdNumber = 3;

function mapWhole(fd: Fd): Mapping {
  const { lengthBytes } = memoryOs.identity(fd);
  return memoryOs.map(fd, { offsetBytes: 0, lengthBytes, writable: true, guard: 'ones' });
}

/** Owns a memfd and a guarded mapping of all of it. */
export class SharedMemory implements Disposable {
  readonly fd: Fd;
  readonly #mapping: Mapping;

  constructor(name: string, lengthBytes: number) {
    this.fd = memoryOs.create(`lessor-bench-${name}`, lengthBytes);
    this.#mapping = mapWhole(this.fd);
  }

  get buffer(): ArrayBuffer {
    return this.#mapping.buffer;
  }

  [Symbol.dispose](): void {
    this.#mapping[Symbol.dispose]();
    this.fd.close();
  }
}

/** In a child: maps what the parent shares. Lives as long as the process. */
export function mapInherited(): Mapping {
  return mapWhole(new Fd(native, sharedFdNumber));
}
