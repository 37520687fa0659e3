// Memory of the caller as a kernel copies from it and to it.
import type { UserBytes } from '../../requests.js';
import type { UserMemory } from '../../user-memory.js';

const pageBytes = 4096;

/** The address so many bytes further; it wraps as a pointer does. */
export function addressAfter(address: bigint, offsetBytes: number | bigint): bigint {
  return BigInt.asUintN(64, address + BigInt(offsetBytes));
}

/** How many bytes from an address on lie in its page, at most `lengthBytes`. */
export function bytesInPage(address: bigint, lengthBytes: number): number {
  return Math.min(lengthBytes, pageBytes - Number(address % BigInt(pageBytes)));
}

export class UserSpace {
  readonly #memory: UserMemory;

  constructor(memory: UserMemory) {
    this.#memory = memory;
  }

  /** A copy. @throws OsError `EFAULT` */
  read(address: bigint, lengthBytes: number): Uint8Array {
    // Nothing is read of no bytes, wherever they are.
    if (lengthBytes === 0) return new Uint8Array();
    return this.#memory.read(address, lengthBytes);
  }

  /** @throws OsError `EFAULT`; what lies before the byte in question is written. */
  write(address: bigint, data: Uint8Array): void {
    if (data.length > 0) this.#memory.write(address, data);
  }

  /** Zeros, a page at a time: a caller may claim 4 GiB. @throws OsError as `write` */
  clear(address: bigint, lengthBytes: number): void {
    const zeros = new Uint8Array(Math.min(lengthBytes, pageBytes));
    for (let at = 0; at < lengthBytes; ) {
      const start = addressAfter(address, at);
      const bytes = bytesInPage(start, lengthBytes - at);
      this.write(start, zeros.subarray(0, bytes));
      at += bytes;
    }
  }

  /** Looks no further than the first page with a byte that is not zero. @throws OsError `EFAULT` */
  isZero(address: bigint, lengthBytes: number): boolean {
    for (let at = 0; at < lengthBytes; ) {
      const start = addressAfter(address, at);
      const bytes = bytesInPage(start, lengthBytes - at);
      if (this.read(start, bytes).some((byte) => byte !== 0)) return false;
      at += bytes;
    }
    return true;
  }

  /** What a pointer and a length lead to. Nothing is touched before it is read. */
  bytes(address: bigint, lengthBytes: number): UserBytes {
    return {
      length: lengthBytes,
      slice: (start, end) => this.read(addressAfter(address, start), end - start),
    };
  }
}
