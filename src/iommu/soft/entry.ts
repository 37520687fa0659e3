// One page-table entry: one u32, so that a walker always reads it whole. The upper 24 bits are an
// arena page or a child node, the lower 8 its flags; 0 is no entry.
//
// The walk goes from an entry to the node it names: every load needs the one before it, and no
// processor that Node runs on overtakes that. So plain loads are enough, and one load per level.

export const entryValid = 1;
export const entryRead = 2;
export const entryWrite = 4;
/** A leaf above the lowest level. */
export const entryLarge = 8;
/** In a leaf: written to since this was cleared last. */
export const entryDirty = 16;
/** In a link of the root: writes through it set `entryDirty` in their leaf. */
export const linkTracked = 16;
/** In a link of the root: not for the short walk over 4 KiB pages. */
export const linkSlow = 32;
/** Mapped memory that this function cannot reach: the page is 0. */
export const entryUnreachable = 64;
/** How far the page or the node is above the flags. */
export const entryShift = 8;
/** Arena pages, and nodes, are below this. */
export const entryNumberEnd = 2 ** (32 - entryShift);

/** The smallest page of a page table: its lowest leaves, and the unit of its arena pages. */
export type SmallestPage = 2048 | 4096;
/** Of every table in production. */
export const pageBytes = 4096;
export const largeBytes = 512 * pageBytes;
/** 1 GiB: the largest leaf, for unreachable memory alone. */
export const hugeBytes = 512 * largeBytes;

/** Entries of one node, each one word. */
export const nodeWords = 512;
/** Address bits that one level decides. */
export const levelBits = 9;

/** log2 of what an entry of each level covers, lowest level first; the root's is the last. */
export function shiftsOf(smallestPage: SmallestPage): readonly number[] {
  return smallestPage === pageBytes ? [12, 21, 30, 39] : [11, 20, 29, 38, 47];
}

/** Which entry of a node covers an IOVA. In integers: a remainder of doubles is slow. */
export function entryIndex(iova: number, shift: number): number {
  if (shift < 29) return ((iova & 0x3fff_ffff) >>> shift) & (nodeWords - 1);
  return (((iova / 2 ** 29) | 0) >>> (shift - 29)) & (nodeWords - 1);
}
