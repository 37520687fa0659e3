// One large reservation of address space, the same in every thread of the process.
import { errnoName } from '../base/errno.js';
import { OsError } from '../base/errors.js';
import type { Fd } from './fd.js';
import { guardFaults, nativeGuardMode } from './guard.js';
import type { Arena, GuardSlot, MapSpec } from './memory-types.js';
import type { MemoryCalls } from './native-memory.js';
import { checkInteger, checkResult } from './native-result.js';

class NativeArena implements Arena {
  readonly id: number;
  readonly lengthBytes: number;
  readonly buffer: ArrayBuffer;
  readonly faults: Int32Array;
  readonly #native: MemoryCalls;

  constructor(native: MemoryCalls, id: number, buffer: ArrayBuffer) {
    this.#native = native;
    this.id = id;
    this.buffer = buffer;
    this.lengthBytes = buffer.byteLength;
    this.faults = guardFaults(native);
  }

  place(offsetBytes: number, fd: Fd, spec: MapSpec): GuardSlot {
    const mode = nativeGuardMode(spec);
    checkInteger(offsetBytes, 'mmap', 'arena offset');
    const slot = this.#native.arenaPlace(
      this.id,
      offsetBytes,
      fd.number,
      spec.offsetBytes,
      spec.lengthBytes,
      spec.writable,
      mode,
    );
    return checkResult(slot, 'mmap', `${spec.lengthBytes} bytes at ${offsetBytes} of the arena`);
  }

  zero(offsetBytes: number, lengthBytes: number): void {
    checkInteger(offsetBytes, 'mmap', 'arena offset');
    checkInteger(lengthBytes, 'mmap', 'length');
    checkResult(this.#native.arenaZero(this.id, offsetBytes, lengthBytes), 'mmap', 'of zeros');
  }

  clear(offsetBytes: number, lengthBytes: number, slot: GuardSlot | undefined): void {
    checkInteger(offsetBytes, 'mmap', 'arena offset');
    checkInteger(lengthBytes, 'mmap', 'length');
    const result = this.#native.arenaClear(this.id, offsetBytes, lengthBytes, slot ?? 0);
    checkResult(result, 'mmap', 'of PROT_NONE');
  }
}

/** @throws OsError `EINVAL`, `ENOMEM`, `ENOSPC` when the process has its last arena. */
export function createArena(native: MemoryCalls, lengthBytes: number): Arena {
  checkInteger(lengthBytes, 'mmap', 'length');
  const id = checkResult(native.arenaCreate(lengthBytes), 'mmap', `an arena of ${lengthBytes}`);
  return openArena(native, id);
}

/** @throws OsError `ENOENT` when no thread of this process created it. */
export function openArena(native: MemoryCalls, id: number): Arena {
  const buffer = native.arenaBuffer(id);
  if (typeof buffer === 'number') throw new OsError(errnoName(-buffer), 'mmap', `arena ${id}`);
  return new NativeArena(native, id, buffer);
}
