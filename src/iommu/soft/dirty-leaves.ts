// Which leaves of a page table a device wrote to: found without looking at what is not mapped.
import { entryDirty, entryLarge, linkMask } from './entry.js';
import { entryIndex, levelBits, type TableShape } from './table-shape.js';

/** @param lengthBytes - What the leaf covers. */
export type DirtyVisitor = (iova: number, lengthBytes: number) => void;

export class DirtyLeaves {
  readonly #words: Int32Array;
  readonly #shape: TableShape;

  /** @param words - Of all nodes. */
  constructor(words: Int32Array, shape: TableShape) {
    this.#words = words;
    this.#shape = shape;
  }

  /**
   * Visits the dirty leaves below a node that meet [start, end), in ascending order and whole.
   *
   * @param start - Covered by the node, as is every address up to `end`; below `end`.
   * @param isTaking - Makes each clean before its visit.
   */
  visit(
    node: number,
    level: number,
    start: number,
    end: number,
    visitor: DirtyVisitor,
    isTaking: boolean,
  ): void {
    const words = this.#words;
    const span = this.#shape.spans[level]!;
    let word = (node << levelBits) | entryIndex(start, this.#shape.shifts[level]!);
    for (let at = Math.floor(start / span) * span; at < end; at += span, word++) {
      const entry = words[word]!;
      if (entry === 0) continue;
      if (level > 0 && (entry & entryLarge) === 0) {
        const from = Math.max(at, start);
        const to = Math.min(at + span, end);
        this.visit((entry & linkMask) >>> levelBits, level - 1, from, to, visitor, isTaking);
      } else if (entry & entryDirty) {
        if (isTaking) Atomics.and(words, word, ~entryDirty);
        visitor(at, span);
      }
    }
  }
}
