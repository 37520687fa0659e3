// Memory of a process without the operating system: what a test placed, with nothing between.
import { OsError } from '../../base/errors.js';
import type { UserMemory } from '../user-memory.js';

interface Placed {
  readonly address: bigint;
  readonly bytes: Uint8Array;
  readonly isWritable: boolean;
}

const pageBytes = 4096;

export class FakeUserMemory implements UserMemory {
  readonly #placed: Placed[] = [];
  #next = 0x7000_0000_0000n;

  /** At the start of a page, with nothing before and behind it; returns the address. */
  place(bytes: Uint8Array, isWritable = true): bigint {
    const address = this.#next;
    this.#placed.push({ address, bytes, isWritable });
    const pages = BigInt(Math.ceil(bytes.length / pageBytes));
    this.#next += (pages + 1n) * BigInt(pageBytes);
    return address;
  }

  read(address: bigint, lengthBytes: number): Uint8Array {
    const found = this.#from(address, false);
    if (found === undefined || found.length < lengthBytes) throw new OsError('EFAULT', 'read');
    return found.slice(0, lengthBytes);
  }

  write(address: bigint, data: Uint8Array): void {
    const found = this.#from(address, true) ?? new Uint8Array();
    found.set(data.subarray(0, found.length));
    if (found.length < data.length) throw new OsError('EFAULT', 'write');
  }

  /** What lies at an address and behind it. */
  #from(address: bigint, isWrite: boolean): Uint8Array | undefined {
    for (const placed of this.#placed) {
      const from = address - placed.address;
      if (from < 0n || from >= placed.bytes.length || (isWrite && !placed.isWritable)) continue;
      return placed.bytes.subarray(Number(from));
    }
    return undefined;
  }
}
