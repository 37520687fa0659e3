// Memory in words of each width: exactly one access of that width per load or store.
import type { Value, Width } from './types.js';

export class Words {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly u64: BigUint64Array;

  /** @param buffer - A multiple of 8 bytes. */
  constructor(buffer: ArrayBuffer) {
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.u64 = new BigUint64Array(buffer);
  }

  /** @param offsetBytes - Inside, aligned to `width`. */
  load(offsetBytes: number, width: Width): Value {
    if (width === 4) return this.u32[offsetBytes / 4]!;
    if (width === 8) return this.u64[offsetBytes / 8]!;
    return width === 2 ? this.u16[offsetBytes / 2]! : this.u8[offsetBytes]!;
  }

  /**
   * Ordered before whatever is loaded after it: a doorbell, then the device's need to be woken.
   *
   * @param offsetBytes - Inside, aligned to `width`.
   */
  store(offsetBytes: number, width: Width, value: Value): void {
    if (width === 4) Atomics.store(this.u32, offsetBytes / 4, Number(value));
    else if (width === 8) Atomics.store(this.u64, offsetBytes / 8, BigInt(value));
    else if (width === 2) Atomics.store(this.u16, offsetBytes / 2, Number(value));
    else Atomics.store(this.u8, offsetBytes, Number(value));
  }

  /** Stores zero wherever there is something else. Offset and length are multiples of 4. */
  clear(offsetBytes: number, lengthBytes: number): void {
    const end = (offsetBytes + lengthBytes) / 4;
    for (let index = offsetBytes / 4; index < end; index += 1) {
      if (this.u32[index] !== 0) this.u32[index] = 0;
    }
  }
}
