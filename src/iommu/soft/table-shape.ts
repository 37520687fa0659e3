// The levels of a page table: what an entry of each covers. They follow from its smallest page.

/** The lowest leaves of a page table, and the unit of its arena pages. */
export type SmallestPage = 2048 | 4096;

/** Entries of one node, each one word. */
export const nodeWords = 512;
/** Address bits that one level decides. */
export const levelBits = 9;

/** Lowest level first. Numbers, not powers taken each time: those cost more than a walk. */
export interface TableShape {
  readonly smallestPage: SmallestPage;
  /** Bytes that an entry covers. */
  readonly spans: readonly number[];
  /** log2 of the same. */
  readonly shifts: readonly number[];
  readonly rootLevel: number;
}

/** 48 bits of IOVA take 4 levels above pages of 4 KiB. */
const shape4096 = shapeOf(4096, [12, 21, 30, 39]);
/** And one level more for the one bit more that pages of 2 KiB leave. */
const shape2048 = shapeOf(2048, [11, 20, 29, 38, 47]);

export function tableShape(smallestPage: SmallestPage): TableShape {
  return smallestPage === 4096 ? shape4096 : shape2048;
}

/** Which entry of a node covers an IOVA. In integers: a remainder of doubles is slow. */
export function entryIndex(iova: number, shift: number): number {
  if (shift < 29) return ((iova & 0x3fff_ffff) >>> shift) & (nodeWords - 1);
  return (((iova / 2 ** 29) | 0) >>> (shift - 29)) & (nodeWords - 1);
}

function shapeOf(smallestPage: SmallestPage, shifts: readonly number[]): TableShape {
  const spans = shifts.map((shift) => 2 ** shift);
  return { smallestPage, spans, shifts, rootLevel: shifts.length - 1 };
}
