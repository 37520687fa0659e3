// Memory of a client that the device may be given: a sealed memfd and a mapping of it.
import type { Iova } from '../base/units.js';
import type { Fd } from '../os/fd.js';
import type { Mapping } from '../os/memory-types.js';

/** Memory of this process that the device can reach. Whoever allocated it disposes it. */
export class LeaseMemory implements AsyncDisposable {
  /** First byte as the device sees it; page-aligned. */
  readonly iova: Iova;
  readonly lengthBytes: number;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly #mapping: Mapping;
  readonly #fd: Fd;
  readonly #unmap: () => Promise<void>;
  #disposed = false;

  constructor(iova: Iova, fd: Fd, mapping: Mapping, unmap: () => Promise<void>) {
    this.iova = iova;
    this.#fd = fd;
    this.#mapping = mapping;
    this.#unmap = unmap;
    this.lengthBytes = mapping.lengthBytes;
    this.u8 = new Uint8Array(mapping.buffer);
    this.u32 = new Uint32Array(mapping.buffer);
  }

  /** Takes it from the device, then unmaps it here: the arrays are detached. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    try {
      await this.#unmap();
    } finally {
      this.#fd.close();
      this.#mapping[Symbol.dispose]();
    }
  }
}
