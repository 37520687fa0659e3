// One page-table entry: two u32. Word 0 is an arena page or a child node, word 1 the flags.
//
// The main thread clears word 1 first and writes it last. A walker that read word 1, then word 0,
// reads word 1 again: the version in it tells a page from the page that replaced it. Plain loads
// keep their order on x86, and V8 does not merge them; elsewhere they go through Atomics.

export const entryValid = 1;
export const entryRead = 2;
export const entryWrite = 4;
/** A leaf above the lowest level. */
export const entryLarge = 8;
export const entryAccessed = 16;
export const entryDirty = 32;
/** Mapped memory that this function cannot reach: word 0 is 0. */
export const entryUnreachable = 64;
/** The version is a multiple of this, in the 24 bits above the flags. */
export const versionUnit = 256;

export const pageBytes = 4096;
export const largeBytes = 512 * pageBytes;
/** 1 GiB: the largest leaf, for unreachable memory alone. */
export const hugeBytes = 512 * largeBytes;
/** Words of one node: 512 entries of two. */
export const nodeWords = 1024;

export const loadsStayInOrder = process.arch === 'x64';

/** A load that later loads of the same thread do not overtake. */
export function orderedLoad(words: Uint32Array, index: number): number {
  return loadsStayInOrder ? words[index]! : Atomics.load(words, index);
}
