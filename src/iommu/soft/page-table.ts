// One address space's radix tree: 4 levels of 512 entries, 48 bits of IOVA. Main thread side.
// A device may walk it at any moment: entries are published whole and cleared flags first.
import { assert } from '../../base/errors.js';
import { iovaEnd } from '../../base/units.js';
import {
  entryAccessed,
  entryDirty,
  entryLarge,
  entryUnreachable,
  entryValid,
  hugeBytes,
  largeBytes,
  pageBytes,
} from './entry.js';
import type { NodePool, TableCharge } from './node-pool.js';

/** Bytes that one entry of a level covers; level 0 is the lowest. */
const spans = [pageBytes, largeBytes, hugeBytes, hugeBytes * 512] as const;
const rootLevel = 3;

/** What an entry says, for tests and dirty tracking. */
export interface EntryView {
  readonly arenaPage: number;
  readonly flags: number;
  readonly spanBytes: number;
}

export class PageTable {
  readonly #pool: NodePool;
  readonly #words: Uint32Array;
  #root: number;

  /** @throws LessorError `ARENA_FULL` */
  constructor(pool: NodePool) {
    this.#pool = pool;
    this.#words = pool.words;
    this.#root = pool.allocate(undefined);
  }

  /** Node index for the PASID table. */
  get root(): number {
    return this.#root;
  }

  /**
   * Makes a free, page-aligned range below 2^48 translate to consecutive arena pages. All or
   * nothing; after a failure the caller must still have its clean-up acknowledged.
   *
   * @param flags - `entryRead`, `entryWrite`; with `entryUnreachable`, `arenaPage` is 0.
   * @throws LessorError `QUOTA_EXCEEDED`, `ARENA_FULL`
   */
  map(
    iova: number,
    lengthBytes: number,
    arenaPage: number,
    flags: number,
    charge: TableCharge | undefined,
  ): void {
    const end = iova + lengthBytes;
    assert(iova >= 0 && lengthBytes > 0 && end <= iovaEnd, 'table range');
    const tag = (flags | entryValid | this.#pool.nextVersion()) >>> 0;
    const isUnreachable = (flags & entryUnreachable) !== 0;
    let at = iova;
    let page = arenaPage;
    try {
      while (at < end) {
        const level = leafLevel(at, end - at, page, isUnreachable);
        const span = spans[level]!;
        const node = this.#descend(at, level, charge);
        const nodeEnd = Math.min(end, (Math.floor(at / (span * 512)) + 1) * span * 512);
        const leaf = level === 0 ? tag : (tag | entryLarge) >>> 0;
        // Entries of one node in one run; a run of large leaves ends where they no longer fit.
        do {
          this.#publish(node, indexOf(at, level), page, leaf);
          at += span;
          if (!isUnreachable) page += span / pageBytes;
        } while (at < nodeEnd && leafLevel(at, end - at, page, isUnreachable) === level);
      }
    } catch (error) {
      // Includes the path to `at`, where nodes may have been linked that hold nothing.
      this.unmap(iova, Math.min(at + pageBytes, end) - iova);
      throw error;
    }
  }

  /** Clears every entry of a range that cuts no leaf, and retires nodes that became empty. */
  unmap(iova: number, lengthBytes: number): void {
    assert(iova >= 0 && iova + lengthBytes <= iovaEnd, 'table range');
    if (lengthBytes === pageBytes && this.#clearPage(iova)) return;
    this.#clear(this.#root, rootLevel, iova, iova + lengthBytes);
  }

  /** Unmaps everything and retires the root. The table is unusable afterwards. */
  destroy(): void {
    this.unmap(0, iovaEnd);
    this.#pool.retire(this.#root);
    this.#root = 0;
  }

  /** The leaf that covers an IOVA. */
  lookup(iova: number): EntryView | undefined {
    let node = this.#root;
    for (let level = rootLevel; level >= 0; level--) {
      const span = spans[level]!;
      const word = wordOf(node, indexOf(iova, level));
      const flags = this.#words[word + 1]!;
      if ((flags & entryValid) === 0) return undefined;
      const low = this.#words[word]!;
      if (level === 0 || flags & entryLarge) {
        return { arenaPage: low, flags: flags & 0xff, spanBytes: span };
      }
      node = low;
    }
    return undefined;
  }

  /** Clears accessed and dirty of the leaf that covers an IOVA; returns them as they were. */
  takeUse(iova: number): { readonly accessed: boolean; readonly dirty: boolean } {
    let node = this.#root;
    for (let level = rootLevel; level >= 0; level--) {
      const word = wordOf(node, indexOf(iova, level));
      const flags = this.#words[word + 1]!;
      if ((flags & entryValid) === 0) break;
      if (level === 0 || flags & entryLarge) {
        const before = Atomics.and(this.#words, word + 1, ~(entryAccessed | entryDirty));
        return { accessed: (before & entryAccessed) !== 0, dirty: (before & entryDirty) !== 0 };
      }
      node = this.#words[word]!;
    }
    return { accessed: false, dirty: false };
  }

  /** The node whose entries are leaves of `level` around `iova`, made where missing. */
  #descend(iova: number, level: number, charge: TableCharge | undefined): number {
    let node = this.#root;
    for (let above = rootLevel; above > level; above--) {
      const index = indexOf(iova, above);
      const word = wordOf(node, index);
      const flags = this.#words[word + 1]!;
      if ((flags & entryValid) === 0) {
        // Nodes of the two upper levels are few, and shared by all users: paid by nobody.
        const child = this.#pool.allocate(above === rootLevel ? undefined : charge);
        this.#publish(node, index, child, (entryValid | this.#pool.nextVersion()) >>> 0);
        node = child;
      } else {
        assert((flags & entryLarge) === 0, 'map below a large leaf');
        node = this.#words[word]!;
      }
    }
    return node;
  }

  #publish(node: number, index: number, low: number, flags: number): void {
    const word = wordOf(node, index);
    assert((this.#words[word + 1]! & entryValid) === 0, 'map over a valid entry');
    this.#words[word] = low;
    Atomics.store(this.#words, word + 1, flags);
    this.#pool.children[node]! += 1;
  }

  /** Clears one page beside others of its node; false when that is not how it is. */
  #clearPage(iova: number): boolean {
    const words = this.#words;
    let node = this.#root;
    for (let level = rootLevel; level > 0; level--) {
      const word = wordOf(node, indexOf(iova, level));
      const flags = words[word + 1]!;
      if ((flags & entryValid) === 0 || (flags & entryLarge) !== 0) return false;
      node = words[word]!;
    }
    const word = wordOf(node, indexOf(iova, 0));
    const { children } = this.#pool;
    if (children[node]! < 2 || (words[word + 1]! & entryValid) === 0) return false;
    Atomics.store(words, word + 1, 0);
    children[node]! -= 1;
    return true;
  }

  #clear(node: number, level: number, start: number, end: number): void {
    const words = this.#words;
    const children = this.#pool.children;
    const span = spans[level]!;
    let index = indexOf(start, level);
    for (let at = start; at < end && children[node] !== 0; index++) {
      const stop = Math.min((Math.floor(at / span) + 1) * span, end);
      const word = wordOf(node, index);
      const flags = words[word + 1]!;
      if (flags & entryValid) {
        let isGone = true;
        if (level === 0 || flags & entryLarge) {
          assert(stop - at === span, 'unmap cuts a leaf');
        } else {
          const child = words[word]!;
          this.#clear(child, level - 1, at, stop);
          isGone = children[child] === 0;
          if (isGone) this.#pool.retire(child);
        }
        if (isGone) {
          Atomics.store(words, word + 1, 0);
          children[node]! -= 1;
        }
      }
      at = stop;
    }
  }
}

/** Which entry of a node of `level` covers an IOVA. In integers: a remainder of doubles is slow. */
function indexOf(iova: number, level: number): number {
  if (level < 2) return ((iova & (hugeBytes - 1)) >>> (level === 0 ? 12 : 21)) & 511;
  const high = (iova / hugeBytes) | 0;
  return level === 2 ? high & 511 : high >>> 9;
}

function wordOf(node: number, index: number): number {
  return node * 1024 + index * 2;
}

/** The highest level whose leaf fits at `iova`, given what is left and where it goes. */
function leafLevel(
  iova: number,
  leftBytes: number,
  arenaPage: number,
  isUnreachable: boolean,
): 0 | 1 | 2 {
  if (leftBytes < largeBytes || (iova & (largeBytes - 1)) !== 0) return 0;
  if (isUnreachable) return leftBytes >= hugeBytes && iova % hugeBytes === 0 ? 2 : 1;
  return arenaPage % 512 === 0 ? 1 : 0;
}
