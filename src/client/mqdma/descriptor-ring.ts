// The rings in the client's own memory: descriptors are written, completions are polled by their
// phase bit. Counters run modulo 2^32. No allocation, no call into the kernel.
import { assert, LessorError } from '../../base/errors.js';
import { completionWord, descriptorWord, mqdma, opcode } from '../../device/mqdma/datasheet.js';
import type { LeaseMemory } from './queue-lease.js';

const descriptorWords = mqdma.descriptorBytes / 4;
const completionWords = mqdma.completionBytes / 4;
const { OPCODE, TAG, LENGTH, SOURCE, DESTINATION, PATTERN, SEED } = descriptorWord;

/** Bytes of memory that both rings take. */
export function ringBytes(entries: number): number {
  return entries * (mqdma.descriptorBytes + mqdma.completionBytes);
}

export class DescriptorRing {
  readonly entries: number;
  readonly descriptorsIova: number;
  readonly completionsIova: number;
  /** Descriptors written since connect. */
  tail = 0;
  /** Completions consumed since connect. */
  completed = 0;
  /** By place in the ring: status and result of its last completion. */
  readonly statuses: Uint8Array;
  readonly results: Uint32Array;
  readonly #words: Uint32Array;
  readonly #completionsAt: number;
  readonly #mask: number;
  readonly #shift: number;

  constructor(memory: LeaseMemory, entries: number) {
    assert(memory.lengthBytes >= ringBytes(entries), 'the memory holds both rings');
    this.entries = entries;
    this.descriptorsIova = memory.iova;
    this.completionsIova = memory.iova + entries * mqdma.descriptorBytes;
    this.statuses = new Uint8Array(entries);
    this.results = new Uint32Array(entries);
    this.#words = memory.u32;
    this.#completionsAt = entries * descriptorWords;
    this.#mask = entries - 1;
    this.#shift = 31 - Math.clz32(entries);
  }

  /** As after connect: counters 0, no completion in the ring. */
  clear(): void {
    this.tail = 0;
    this.completed = 0;
    this.#words.fill(0, this.#completionsAt, this.#completionsAt + this.entries * completionWords);
  }

  get outstanding(): number {
    return (this.tail - this.completed) >>> 0;
  }

  /** Place in the ring of a ticket. */
  place(ticket: number): number {
    return ticket & this.#mask;
  }

  isDone(ticket: number): boolean {
    return ((this.completed - ticket) | 0) > 0;
  }

  /**
   * Writes one descriptor, not yet rung.
   *
   * @returns Its ticket: the value of `tail` before it.
   * @throws LessorError `QUEUE_FULL`
   */
  put(
    code: number,
    source: number,
    destination: number,
    length: number,
    patternLow: number,
    patternHigh: number,
    seed: number,
  ): number {
    const ticket = this.tail;
    if ((ticket - this.completed) >>> 0 >= this.entries) {
      throw new LessorError('QUEUE_FULL', `all ${this.entries} descriptors are under way`);
    }
    const words = this.#words;
    const at = (ticket & this.#mask) * descriptorWords;
    words[at + OPCODE] = code;
    words[at + OPCODE + 1] = 0;
    words[at + TAG] = ticket;
    words[at + LENGTH] = length;
    words[at + SOURCE] = source >>> 0;
    words[at + SOURCE + 1] = (source / 2 ** 32) >>> 0;
    words[at + DESTINATION] = destination >>> 0;
    words[at + DESTINATION + 1] = (destination / 2 ** 32) >>> 0;
    words[at + PATTERN] = patternLow;
    words[at + PATTERN + 1] = patternHigh;
    words[at + SEED] = seed;
    words[at + SEED + 1] = 0;
    words[at + 12] = 0;
    words[at + 13] = 0;
    words[at + 14] = 0;
    words[at + 15] = 0;
    this.tail = (ticket + 1) >>> 0;
    return ticket;
  }

  putNop(): number {
    return this.put(opcode.NOP, 0, 0, 0, 0, 0, 0);
  }

  /** Takes one completion if there is one. */
  take(): boolean {
    const ticket = this.completed;
    if (ticket === this.tail) return false;
    const place = ticket & this.#mask;
    const words = this.#words;
    const at = this.#completionsAt + place * completionWords;
    // Bit 0 of the last word is 1 in the first pass of the ring, 0 in the second, and so on.
    const phase = ((ticket >>> this.#shift) & 1) ^ 1;
    if ((words[at + completionWord.STATUS]! & 1) !== phase) return false;
    // Ordered before the load of the words that were written first.
    const last = Atomics.load(words, at + completionWord.STATUS);
    this.statuses[place] = last >>> 8;
    this.results[place] = words[at + completionWord.RESULT]!;
    this.completed = (ticket + 1) >>> 0;
    return true;
  }
}
