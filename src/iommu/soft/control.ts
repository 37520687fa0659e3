// The words that the main thread and a device worker share, and what is handed to the worker.
import type { SmallestPage } from './table-shape.js';

/** Handles of one function's IOMMU; all of them may be posted to a worker. */
export interface IommuHandles {
  /** Page-table nodes of every address space. */
  readonly tables: SharedArrayBuffer;
  /** Where the root of each PASID's table begins; word 0 is the plain requester id. */
  readonly pasids: SharedArrayBuffer;
  /** Invalidation words, below. */
  readonly control: SharedArrayBuffer;
  /** Of every table that the PASIDs lead to. Default 4096. */
  readonly smallestPage?: SmallestPage;
}

// One cache line each: the worker writes `seen` and `state`, the main thread the others.
/** Grows with every invalidation. */
export const generationWord = 0;
/** The last generation the worker holds no older translation of. */
export const seenWord = 16;
/** `stateAsleep` or `stateRunning`. */
export const stateWord = 32;
/** Grows with every wake-up. */
export const wakeWord = 48;
const wordCount = 64;

/** No translation is held, and the generation is read before the next one is made. */
export const stateAsleep = 0;
export const stateRunning = 1;

/** Fresh control words: generation 0, asleep. */
export function createControl(): SharedArrayBuffer {
  return new SharedArrayBuffer(wordCount * 4);
}

/** True when generation `seen` is not older than `wanted`; both wrap at 2^32. */
export function hasSeen(seen: number, wanted: number): boolean {
  return ((seen - wanted) | 0) >= 0;
}
