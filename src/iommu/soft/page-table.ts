// One address space's radix tree: nodes of 512 entries, 48 bits of IOVA. Main thread side.
// A device may walk it at any moment: every entry is published and cleared with one store.
import { assert } from '../../base/errors.js';
import { iovaEnd } from '../../base/units.js';
import { DirtyLeaves, type DirtyVisitor } from './dirty-leaves.js';
import {
  arenaPageEnd,
  entryLarge,
  entryRead,
  entryUnreachable,
  entryValid,
  entryWrite,
  linkMask,
  linkShort,
  linkTracked,
  pageBytes,
  pageShift,
  unreachableShift,
} from './entry.js';
import type { NodePool, TableCharge } from './node-pool.js';
import {
  entryIndex,
  levelBits,
  nodeWords,
  type SmallestPage,
  type TableShape,
  tableShape,
} from './table-shape.js';

/** Nodes that cover this much or more are few, and shared by all users: paid by nobody. */
const unpaidNodeShift = 38;
/** Nothing in an arena is aligned to more than a leaf of this level. */
const reachableLevelMax = 1;
const levelMax = 2;

/** What an entry says, for tests. */
export interface EntryView {
  readonly arenaPage: number;
  readonly flags: number;
  readonly spanBytes: number;
}

export class PageTable {
  readonly #pool: NodePool;
  readonly #words: Int32Array;
  readonly #shape: TableShape;
  readonly #dirty: DirtyLeaves;
  #isTracking = false;
  #root: number;

  /**
   * @param smallestPage - As of the IOMMU: its lowest leaves, and the unit of arena pages.
   * @throws LessorError `ARENA_FULL`
   */
  constructor(pool: NodePool, smallestPage: SmallestPage = pageBytes) {
    this.#pool = pool;
    this.#words = pool.words;
    this.#shape = tableShape(smallestPage);
    this.#dirty = new DirtyLeaves(pool.words, this.#shape);
    this.#root = pool.allocate(undefined);
  }

  /** What the PASID table says of this table: the word index of the root's first entry. */
  get root(): number {
    return wordOf(this.#root, 0);
  }

  get isTracking(): boolean {
    return this.#isTracking;
  }

  /**
   * Makes a free range below 2^48 of whole smallest pages translate to consecutive arena pages.
   * All or nothing; after a failure the caller must still have its clean-up acknowledged.
   *
   * @param arenaPage - In smallest pages, below 2^24. With `entryUnreachable` it is 0.
   * @param flags - `entryRead`, `entryWrite`, `entryUnreachable`.
   * @param largestLeafBytes - No leaf covers more than this, so that any page can go alone.
   * @throws LessorError `QUOTA_EXCEEDED`, `ARENA_FULL`
   */
  map(
    iova: number,
    lengthBytes: number,
    arenaPage: number,
    flags: number,
    charge: TableCharge | undefined,
    largestLeafBytes = Number.POSITIVE_INFINITY,
  ): void {
    const end = iova + lengthBytes;
    const { smallestPage, spans, shifts } = this.#shape;
    assert(iova >= 0 && lengthBytes > 0 && end <= iovaEnd, 'table range');
    assert(((iova | lengthBytes) & (smallestPage - 1)) === 0, 'table range cuts a page');
    const isUnreachable = (flags & entryUnreachable) !== 0;
    const endPage = isUnreachable ? 0 : arenaPage + lengthBytes / smallestPage;
    assert(endPage <= arenaPageEnd, 'arena page');
    const rights = flags & (entryRead | entryWrite);
    const leaf = entryValid | (isUnreachable ? rights << unreachableShift : rights);
    let at = iova;
    let page = arenaPage;
    try {
      while (at < end) {
        const level = this.#leafLevel(at, end - at, page, isUnreachable, largestLeafBytes);
        const span = spans[level]!;
        const node = this.#descend(at, level, charge);
        const nodeEnd = Math.min(end, (Math.floor(at / (span * nodeWords)) + 1) * span * nodeWords);
        const entry = level === 0 ? leaf : leaf | entryLarge;
        // Entries of one node in one run; a run of large leaves ends where they no longer fit.
        do {
          this.#publish(node, entryIndex(at, shifts[level]!), (page << pageShift) | entry);
          at += span;
          if (!isUnreachable) page += span / smallestPage;
        } while (
          at < nodeEnd &&
          this.#leafLevel(at, end - at, page, isUnreachable, largestLeafBytes) === level
        );
      }
    } catch (error) {
      // Includes the path to `at`, where nodes may have been linked that hold nothing.
      this.unmap(iova, Math.min(at + smallestPage, end) - iova);
      throw error;
    }
  }

  /** Clears every entry of a range that cuts no leaf, and retires nodes that became empty. */
  unmap(iova: number, lengthBytes: number): void {
    assert(iova >= 0 && iova + lengthBytes <= iovaEnd, 'table range');
    if (lengthBytes === this.#shape.smallestPage && this.#clearPage(iova)) return;
    this.#clear(this.#root, this.#shape.rootLevel, iova, iova + lengthBytes);
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
    for (let level = this.#shape.rootLevel; level >= 0; level--) {
      const entry = this.#words[wordOf(node, entryIndex(iova, this.#shape.shifts[level]!))]!;
      if ((entry & entryValid) === 0) return undefined;
      if (level === 0 || entry & entryLarge) {
        const spanBytes = this.#shape.spans[level]!;
        return { arenaPage: entry >>> pageShift, flags: entry & 0xff, spanBytes };
      }
      node = nodeOf(entry);
    }
    return undefined;
  }

  /**
   * Writes through this table mark their leaves as dirty from now on, or no more. Costs nobody
   * else anything. What the device translated before its next acknowledgement is not marked.
   */
  setTracking(isOn: boolean): void {
    this.#isTracking = isOn;
    const base = wordOf(this.#root, 0);
    for (let word = base; word < base + nodeWords; word++) {
      const link = this.#words[word]!;
      if (link !== 0) Atomics.store(this.#words, word, (link & linkMask) | this.#rootLinkFlags());
    }
  }

  /**
   * Visits the dirty leaves that meet [start, end), in ascending order. A large leaf is visited
   * whole, also when the range cuts it.
   */
  readDirty(start: number, end: number, visit: DirtyVisitor): void {
    this.#visitDirty(start, end, visit, false);
  }

  /**
   * As `readDirty`, and makes them clean. A write that the device translated before may still
   * come, unmarked, until its next acknowledgement: look at the memory only after that.
   */
  takeDirty(start: number, end: number, visit: DirtyVisitor): void {
    this.#visitDirty(start, end, visit, true);
  }

  /** Makes every leaf that meets [start, end) clean. */
  clearDirty(start: number, end: number): void {
    this.#visitDirty(start, end, () => {}, true);
  }

  /** The node whose entries are leaves of `level` around `iova`, made where missing. */
  #descend(iova: number, level: number, charge: TableCharge | undefined): number {
    const { shifts, rootLevel } = this.#shape;
    let node = this.#root;
    for (let above = rootLevel; above > level; above--) {
      const shift = shifts[above]!;
      const index = entryIndex(iova, shift);
      const entry = this.#words[wordOf(node, index)]!;
      if ((entry & entryValid) === 0) {
        const child = this.#pool.allocate(shift >= unpaidNodeShift ? undefined : charge);
        const flags = above === rootLevel ? this.#rootLinkFlags() : entryValid | linkShort;
        this.#publish(node, index, wordOf(child, 0) | flags);
        node = child;
      } else {
        assert((entry & entryLarge) === 0, 'map below a large leaf');
        node = nodeOf(entry);
      }
    }
    return node;
  }

  #rootLinkFlags(): number {
    if (this.#isTracking) return entryValid | linkTracked;
    return this.#shape.smallestPage === pageBytes ? entryValid | linkShort : entryValid;
  }

  #publish(node: number, index: number, entry: number): void {
    const word = wordOf(node, index);
    assert(this.#words[word] === 0, 'map over a valid entry');
    Atomics.store(this.#words, word, entry);
    this.#pool.children[node]! += 1;
  }

  /** Clears one page beside others of its node; false when that is not how it is. */
  #clearPage(iova: number): boolean {
    const words = this.#words;
    const { shifts, rootLevel } = this.#shape;
    let node = this.#root;
    for (let level = rootLevel; level > 0; level--) {
      const entry = words[wordOf(node, entryIndex(iova, shifts[level]!))]!;
      if ((entry & (entryValid | entryLarge)) !== entryValid) return false;
      node = nodeOf(entry);
    }
    const word = wordOf(node, entryIndex(iova, shifts[0]!));
    const { children } = this.#pool;
    if (children[node]! < 2 || words[word] === 0) return false;
    Atomics.store(words, word, 0);
    children[node]! -= 1;
    return true;
  }

  #clear(node: number, level: number, start: number, end: number): void {
    const words = this.#words;
    const children = this.#pool.children;
    const span = this.#shape.spans[level]!;
    let index = entryIndex(start, this.#shape.shifts[level]!);
    for (let at = start; at < end && children[node] !== 0; index++) {
      const stop = Math.min((Math.floor(at / span) + 1) * span, end);
      const word = wordOf(node, index);
      const entry = words[word]!;
      if (entry & entryValid) {
        let isGone = true;
        if (level === 0 || entry & entryLarge) {
          assert(stop - at === span, 'unmap cuts a leaf');
        } else {
          const child = nodeOf(entry);
          this.#clear(child, level - 1, at, stop);
          isGone = children[child] === 0;
          if (isGone) this.#pool.retire(child);
        }
        if (isGone) {
          Atomics.store(words, word, 0);
          children[node]! -= 1;
        }
      }
      at = stop;
    }
  }

  #visitDirty(start: number, end: number, visitor: DirtyVisitor, isTaking: boolean): void {
    assert(start >= 0 && start < end && end <= iovaEnd, 'dirty range');
    this.#dirty.visit(this.#root, this.#shape.rootLevel, start, end, visitor, isTaking);
  }

  /** The highest level whose leaf fits at `iova`, given what is left and where it goes. */
  #leafLevel(
    iova: number,
    leftBytes: number,
    arenaPage: number,
    isUnreachable: boolean,
    largestLeafBytes: number,
  ): number {
    const top = isUnreachable ? levelMax : reachableLevelMax;
    let level = 0;
    while (level < top) {
      const span = this.#shape.spans[level + 1]!;
      if (leftBytes < span || span > largestLeafBytes) break;
      if ((iova & (span - 1)) !== 0 || (!isUnreachable && arenaPage % nodeWords !== 0)) break;
      level += 1;
    }
    return level;
  }
}

function wordOf(node: number, index: number): number {
  return (node << levelBits) | index;
}

/** The node that a link leads to. */
function nodeOf(link: number): number {
  return (link & linkMask) >>> levelBits;
}
