// One shared mapping, owned by the object and given back by `dispose`.

import { errnoName } from '../base/errno.js';
import { OsError } from '../base/errors.js';
import type { Fd } from './fd.js';
import { guardFaults, nativeGuardMode } from './guard.js';
import type { Mapping, MapSpec } from './memory-types.js';
import type { MemoryCalls } from './native-memory.js';
import { checkResult } from './native-result.js';

class NativeMapping implements Mapping {
  readonly buffer: ArrayBuffer;
  readonly lengthBytes: number;
  readonly #native: MemoryCalls;
  readonly #faults: Int32Array;
  /** 0 when not guarded, and after disposal: the slot then guards something else. */
  #slot: number;
  #lost = false;
  #disposed = false;

  constructor(native: MemoryCalls, buffer: ArrayBuffer, slot: number) {
    this.#native = native;
    this.#faults = guardFaults(native);
    this.buffer = buffer;
    this.lengthBytes = buffer.byteLength;
    this.#slot = slot;
  }

  get revoked(): boolean {
    return this.#lost || (this.#slot !== 0 && this.#faults[this.#slot] !== 0);
  }

  poison(): void {
    if (this.#disposed) return;
    checkResult(this.#native.poison(this.buffer), 'mmap', 'of all-ones memory');
    this.#lost = true;
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#lost = this.revoked;
    this.#disposed = true;
    this.#slot = 0;
    checkResult(this.#native.unmap(this.buffer), 'munmap');
  }
}

/** @throws OsError of mmap; `ENOSPC` when the guard table is full. */
export function mapMemory(native: MemoryCalls, fd: Fd, spec: MapSpec): Mapping {
  const mode = nativeGuardMode(spec);
  const slot = new Int32Array(1);
  const { offsetBytes, lengthBytes, writable } = spec;
  const buffer = native.map(fd.number, offsetBytes, lengthBytes, writable, mode, slot);
  if (typeof buffer === 'number') {
    throw new OsError(errnoName(-buffer), 'mmap', `${lengthBytes} bytes at ${offsetBytes}`);
  }
  return new NativeMapping(native, buffer, slot[0]!);
}
