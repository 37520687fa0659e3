// The memory of a process as far as the program says what is where.
import { assert, OsError } from '../base/errors.js';
import { hex, isAligned } from '../base/units.js';
import type { Fd } from '../os/fd.js';
import type { MemoryPiece, PinnableMemory, UserMemory } from './user-memory.js';

/** A mapping of a memory object into the process. */
export interface RegisteredMapping {
  /** Of its first byte, a multiple of the page. */
  readonly address: bigint;
  /** Of the object that is mapped. Not owned; open while the mapping is registered. */
  readonly fd: Fd;
  /** Where in the object it begins, a multiple of the page. */
  readonly offsetBytes: number;
  /** The mapping itself: whole pages. */
  readonly bytes: Uint8Array;
  readonly isWritable: boolean;
}

const pageBytes = 4096;

/** Mappings that the program named; there is no other memory. */
export class RegisteredMemory implements UserMemory, PinnableMemory {
  /** Ascending by address, and apart. */
  readonly #mappings: RegisteredMapping[] = [];

  /** Until the result is disposed. It may not overlap another, nor go beyond 2^53. */
  register(mapping: RegisteredMapping): Disposable {
    const { address, offsetBytes, bytes } = mapping;
    assert(bytes.length > 0 && isAligned(bytes.length, pageBytes), 'whole pages');
    assert(address >= 0n && address % BigInt(pageBytes) === 0n, `page address ${hex(address)}`);
    assert(endOf(mapping) <= 2 ** 53, 'an address of a process');
    assert(offsetBytes >= 0 && isAligned(offsetBytes, pageBytes), `page offset ${offsetBytes}`);
    const index = this.#indexAfter(address);
    const before = this.#mappings[index - 1];
    const after = this.#mappings[index];
    assert(before === undefined || endOf(before) <= address, 'apart from what is below');
    assert(after === undefined || after.address >= endOf(mapping), 'apart from what is above');
    this.#mappings.splice(index, 0, mapping);
    return {
      [Symbol.dispose]: () => {
        const at = this.#mappings.indexOf(mapping);
        if (at >= 0) this.#mappings.splice(at, 1);
      },
    };
  }

  resolve(
    address: bigint,
    lengthBytes: number,
    isWritable: boolean,
  ): readonly MemoryPiece[] | undefined {
    const { parts, isWhole } = this.#partsOf(address, lengthBytes, isWritable);
    if (!isWhole) return undefined;
    return parts.map(({ mapping, from, to }) => {
      const { fd, offsetBytes } = mapping;
      return { fd, offsetBytes: offsetBytes + from, lengthBytes: to - from };
    });
  }

  read(address: bigint, lengthBytes: number): Uint8Array {
    const { parts, isWhole } = this.#partsOf(address, lengthBytes, false);
    if (!isWhole) throw new OsError('EFAULT', 'read', hex(address));
    const copy = new Uint8Array(lengthBytes);
    let at = 0;
    for (const { mapping, from, to } of parts) {
      copy.set(mapping.bytes.subarray(from, to), at);
      at += to - from;
    }
    return copy;
  }

  write(address: bigint, data: Uint8Array): void {
    const { parts, isWhole } = this.#partsOf(address, data.length, true);
    let at = 0;
    for (const { mapping, from, to } of parts) {
      mapping.bytes.set(data.subarray(at, at + to - from), from);
      at += to - from;
    }
    if (!isWhole) throw new OsError('EFAULT', 'write', hex(address));
  }

  /** Which bytes of which mappings a range is, up to the first that is not there. */
  #partsOf(address: bigint, lengthBytes: number, isWritable: boolean): Parts {
    const parts: Part[] = [];
    const end = address + BigInt(lengthBytes);
    let at = address;
    for (let index = this.#indexAfter(address) - 1; at < end; index++) {
      const mapping = this.#mappings[index];
      const isThere = mapping !== undefined && mapping.address <= at && endOf(mapping) > at;
      if (!isThere || (isWritable && !mapping.isWritable)) return { parts, isWhole: false };
      const stop = endOf(mapping) < end ? endOf(mapping) : end;
      const { address: base } = mapping;
      parts.push({ mapping, from: Number(at - base), to: Number(stop - base) });
      at = stop;
    }
    return { parts, isWhole: true };
  }

  /** Index of the first mapping above an address. */
  #indexAfter(address: bigint): number {
    let low = 0;
    let high = this.#mappings.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#mappings[middle]!.address <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

interface Parts {
  readonly parts: readonly Part[];
  readonly isWhole: boolean;
}

interface Part {
  readonly mapping: RegisteredMapping;
  /** Bytes of the mapping. */
  readonly from: number;
  readonly to: number;
}

function endOf({ address, bytes }: RegisteredMapping): bigint {
  return address + BigInt(bytes.length);
}
