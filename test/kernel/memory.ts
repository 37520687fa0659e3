// The memory that both sides see at the same addresses: structures and arrays in the scratch pages,
// memory to map in the pool, and around them nothing, for pointers that lead nowhere.
import { readFileSync } from 'node:fs';
import type { Fd } from '../../src/os/fd.js';
import { createOs } from '../../src/os/index.js';
import type { Arena } from '../../src/os/memory-types.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const pageBytes = 4096;

/** So much that nothing else of this process is ever at an address that a sequence tries. */
const reservedBytes = 3 * 1024 * MiB;

/** Byte offsets in the reservation. What lies between them is not mapped. */
export const at = {
  /** Page 0 is for the structure, pages 1 to 3 for what it points to. */
  scratch: 0,
  /** The scratch pages again, read-only. */
  readOnlyScratch: 64 * KiB,
  hole: 1 * MiB,
  pool: 2 * MiB,
  /** The first MiB of the pool again, read-only. */
  readOnlyPool: 8 * MiB,
} as const;

export const scratchBytes = 4 * pageBytes;
export const dataAt = at.scratch + pageBytes;
export const poolBytes = 4 * MiB;
export const readOnlyPoolBytes = 1 * MiB;

/** A stretch of the process that a device can be let at. */
export interface Stretch {
  readonly start: number;
  readonly lengthBytes: number;
  readonly fd: Fd;
  readonly offsetBytes: number;
  readonly isWritable: boolean;
}

export class WorldMemory {
  readonly arena: Arena;
  /** The whole reservation; touch only what is mapped. */
  readonly bytes: Buffer;
  readonly scratch: Buffer;
  readonly pool: Fd;
  readonly stretches: readonly Stretch[];
  /** Address of the reservation. */
  readonly base: number;

  constructor(os = createOs()) {
    this.arena = os.memory.createArena(reservedBytes);
    this.bytes = Buffer.from(this.arena.buffer);
    const scratch = os.memory.create('differential-scratch', scratchBytes);
    this.pool = os.memory.create('differential-pool', poolBytes);
    this.#place(at.scratch, scratch, scratchBytes, true);
    this.#place(at.readOnlyScratch, scratch, scratchBytes, false);
    this.#place(at.pool, this.pool, poolBytes, true);
    this.#place(at.readOnlyPool, this.pool, readOnlyPoolBytes, false);
    this.scratch = this.bytes.subarray(at.scratch, at.scratch + scratchBytes);
    this.base = addressOfMemory('differential-scratch') - at.scratch;
    const stretch = (start: number, lengthBytes: number, fd: Fd, isWritable: boolean) => {
      return { start: this.base + start, lengthBytes, fd, offsetBytes: 0, isWritable };
    };
    this.stretches = [
      stretch(at.scratch, scratchBytes, scratch, true),
      stretch(at.readOnlyScratch, scratchBytes, scratch, false),
      stretch(at.pool, poolBytes, this.pool, true),
      stretch(at.readOnlyPool, readOnlyPoolBytes, this.pool, false),
    ];
    this.fillPool();
  }

  address(offsetBytes: number): number {
    return this.base + offsetBytes;
  }

  /** The bytes at an address of the process; undefined when some of them are not there. */
  at(address: bigint, lengthBytes: number): Buffer | undefined {
    const stretch = this.stretchAt(address);
    if (stretch === undefined) return undefined;
    const start = Number(address) - this.base;
    const end = stretch.start + stretch.lengthBytes - this.base;
    return start + lengthBytes > end ? undefined : this.bytes.subarray(start, start + lengthBytes);
  }

  stretchAt(address: bigint): Stretch | undefined {
    return this.stretches.find(({ start, lengthBytes }) => {
      return address >= BigInt(start) && address < BigInt(start + lengthBytes);
    });
  }

  /** No two half pages alike, so that what a page table leads to can be told by its content. */
  fillPool(): void {
    const words = new Uint32Array(this.arena.buffer, at.pool, poolBytes / 4);
    // Neighbours are not touched one after the other, so that they do not lie side by side in
    // memory either: the kernel maps what does with one entry.
    const pages = poolBytes / pageBytes;
    for (let turn = 0; turn < pages; turn++) {
      const first = ((turn * 389) % pages) * 1024;
      for (let index = first; index < first + 1024; index++) {
        words[index] = (Math.floor(index / 512) + 1) * 0x10001;
      }
    }
  }

  #place(offsetBytes: number, fd: Fd, lengthBytes: number, writable: boolean): void {
    this.arena.place(offsetBytes, fd, { offsetBytes: 0, lengthBytes, writable });
  }
}

/** Where a memory object is mapped first. */
function addressOfMemory(name: string): number {
  const line = readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .find((each) => each.includes(`/memfd:${name}`));
  if (line === undefined) throw new Error(`${name} is not mapped`);
  return Number.parseInt(line.slice(0, line.indexOf('-')), 16);
}
