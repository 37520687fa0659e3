// Moves the data of an operation over translated memory, one chunk at a time. Translations are
// made anew in every chunk and never kept: between chunks they may be invalidated.
import type { DirectMemory } from '../types.js';
import { crc32c } from './crc32c.js';
import { accessCode, descriptorWord, mqdma, opcode } from './datasheet.js';
import { reasonIndex } from './operation.js';
import type { QueueState } from './queue-state.js';

const { chunkBytes } = mqdma;

/** What a chunk ended with. */
export const moved = { more: 0, done: 1, different: 2, fault: 3 } as const;

export class DataMover {
  /** After `fault`: what was refused. */
  faultIova = 0;
  faultAccess = 0;
  faultReason = 0;
  readonly #memory: DirectMemory;
  readonly #pageMask: number;

  constructor(memory: DirectMemory) {
    this.#memory = memory;
    this.#pageMask = memory.pageBytes - 1;
  }

  /** Does at most 4 KiB of the queue's operation. */
  chunk(queue: QueueState): number {
    const memory = this.#memory;
    const faults = memory.faultCount();
    let left = Math.min(chunkBytes, queue.lengthBytes - queue.doneBytes);
    const startBytes = queue.doneBytes;
    while (left > 0) {
      const piece = this.#piece(queue, left);
      if (piece < 0) return moved.fault;
      if (piece === 0) break;
      left -= piece;
      queue.doneBytes += piece;
    }
    if (memory.faultCount() !== faults) return this.#memoryGone(queue, startBytes);
    if (left > 0) return moved.different;
    return queue.doneBytes === queue.lengthBytes ? moved.done : moved.more;
  }

  #memoryGone(queue: QueueState, startBytes: number): number {
    const writes = queue.opcode === opcode.FILL;
    this.faultIova = (writes ? queue.destination : queue.source) + startBytes;
    this.faultAccess = writes ? accessCode.WRITE : accessCode.READ;
    this.faultReason = reasonIndex.memoryGone;
    return moved.fault;
  }

  /** @returns Bytes done, at most `left`; 0: compare found a difference; -1: fault. */
  #piece(queue: QueueState, left: number): number {
    switch (queue.opcode) {
      case opcode.COPY:
        return this.#copy(queue, left);
      case opcode.FILL:
        return this.#fill(queue, left);
      case opcode.COMPARE:
        return this.#compare(queue, left);
      default:
        return this.#checksum(queue, left);
    }
  }

  /** @returns Byte offset, or -1 with the fault noted. */
  #at(queue: QueueState, iova: number, access: 'read' | 'write'): number {
    const offset = this.#memory.translate(queue.pasid, iova, access);
    if (offset >= 0) return offset;
    this.faultIova = iova;
    this.faultAccess = access === 'read' ? accessCode.READ : accessCode.WRITE;
    this.faultReason = -1 - offset;
    return -1;
  }

  /** Bytes from `iova` to the end of its page, at most `left`. */
  #run(iova: number, left: number): number {
    const toEnd = this.#pageMask + 1 - (iova & this.#pageMask);
    return toEnd < left ? toEnd : left;
  }

  #copy(queue: QueueState, left: number): number {
    const source = queue.source + queue.doneBytes;
    const destination = queue.destination + queue.doneBytes;
    const run = this.#run(destination, this.#run(source, left));
    const from = this.#at(queue, source, 'read');
    if (from < 0) return -1;
    const to = this.#at(queue, destination, 'write');
    if (to < 0) return -1;
    this.#memory.u8.copyWithin(to, from, from + run);
    return run;
  }

  #fill(queue: QueueState, left: number): number {
    const destination = queue.destination + queue.doneBytes;
    const run = this.#run(destination, left);
    const to = this.#at(queue, destination, 'write');
    if (to < 0) return -1;
    const low = queue.descriptor[descriptorWord.PATTERN]!;
    const high = queue.descriptor[descriptorWord.PATTERN + 1]!;
    fillPattern(this.#memory.u8, to, run, low, high, queue.doneBytes);
    return run;
  }

  #compare(queue: QueueState, left: number): number {
    const one = queue.source + queue.doneBytes;
    const other = queue.destination + queue.doneBytes;
    const run = this.#run(other, this.#run(one, left));
    const oneAt = this.#at(queue, one, 'read');
    if (oneAt < 0) return -1;
    const otherAt = this.#at(queue, other, 'read');
    if (otherAt < 0) return -1;
    const same = sameBytes(this.#memory, oneAt, otherAt, run);
    if (same === run) return run;
    queue.result = queue.doneBytes + same;
    return 0;
  }

  #checksum(queue: QueueState, left: number): number {
    const source = queue.source + queue.doneBytes;
    const run = this.#run(source, left);
    const from = this.#at(queue, source, 'read');
    if (from < 0) return -1;
    queue.result = crc32c(queue.result, this.#memory.u8, this.#memory.u32, from, run);
    return run;
  }
}

/** Byte `index` of an 8-byte pattern given as two little-endian words. */
function patternByte(low: number, high: number, index: number): number {
  const word = (index & 4) === 0 ? low : high;
  return (word >>> ((index & 3) * 8)) & 0xff;
}

/** Repeats an 8-byte pattern, whose phase is that of `position`, over a range. */
export function fillPattern(
  u8: Uint8Array,
  at: number,
  lengthBytes: number,
  low: number,
  high: number,
  position: number,
): void {
  if (low === high && low === Math.imul(low & 0xff, 0x01010101) >>> 0) {
    u8.fill(low & 0xff, at, at + lengthBytes);
    return;
  }
  const seedBytes = Math.min(lengthBytes, 64);
  for (let index = 0; index < seedBytes; index++) {
    u8[at + index] = patternByte(low, high, (position + index) & 7);
  }
  // Doubling keeps the phase: every length copied from is a multiple of 8, or the end.
  for (let filled = seedBytes; filled < lengthBytes; filled *= 2) {
    u8.copyWithin(at + filled, at, at + Math.min(filled, lengthBytes - filled));
  }
}

/** How many leading bytes of two ranges agree. */
export function sameBytes(
  memory: { readonly u8: Uint8Array; readonly u32: Uint32Array },
  one: number,
  other: number,
  lengthBytes: number,
): number {
  const { u8, u32 } = memory;
  let index = 0;
  if (((one | other) & 3) === 0) {
    const words = lengthBytes >>> 2;
    const oneWord = one >>> 2;
    const otherWord = other >>> 2;
    let word = 0;
    while (word < words && u32[oneWord + word] === u32[otherWord + word]) word++;
    index = word * 4;
  }
  while (index < lengthBytes && u8[one + index] === u8[other + index]) index++;
  return index;
}
