// The arena seen in words of each width: exactly one access of that width per read or write.
import type { Value, Width } from '../../device/types.js';
import type { Arena } from '../../os/memory-types.js';

export class ArenaView {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly u64: BigUint64Array;

  constructor(arena: Arena) {
    this.u8 = new Uint8Array(arena.buffer);
    this.u16 = new Uint16Array(arena.buffer);
    this.u32 = new Uint32Array(arena.buffer);
    this.u64 = new BigUint64Array(arena.buffer);
  }

  /** @param at - Byte offset in the arena, aligned to `width`, below its length. */
  read(at: number, width: Width): Value {
    if (width === 4) return this.u32[at / 4]!;
    if (width === 8) return this.u64[at / 8]!;
    if (width === 2) return this.u16[at / 2]!;
    return this.u8[at]!;
  }

  /** Ordered before whatever is read after it: a doorbell, then the device's need to be woken. */
  write(at: number, width: Width, value: Value): void {
    if (width === 4) Atomics.store(this.u32, at / 4, Number(value));
    else if (width === 8) Atomics.store(this.u64, at / 8, BigInt(value));
    else if (width === 2) Atomics.store(this.u16, at / 2, Number(value));
    else Atomics.store(this.u8, at, Number(value));
  }

  /** Stores zero wherever there is something else. Offset and length are multiples of 4. */
  clearWords(at: number, lengthBytes: number): void {
    const end = (at + lengthBytes) / 4;
    for (let index = at / 4; index < end; index += 1) {
      if (this.u32[index] !== 0) this.u32[index] = 0;
    }
  }
}
