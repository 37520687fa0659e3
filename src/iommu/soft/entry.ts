// One page-table entry: one u32, so that a walker always reads it whole. 0 is no entry. The flags
// are the lower 8 bits. Above them is, in a leaf, an arena page; in a link, the word index of the
// first entry of the node below, which is a multiple of 512.
//
// The walk goes from an entry to the node it names: every load needs the one before it, and no
// processor that Node runs on overtakes that. So plain loads are enough, and one load per level.
//
// Each step of the short walk, the one over 4 KiB pages, tests one bit. That is what decides which
// flags there are: half its time is spent on instructions, and each test of two bits adds two.

export const entryValid = 1;
/** In a leaf: the device may read, and reaches it. */
export const entryRead = 2;
/** In a leaf: the device may write, and reaches it. */
export const entryWrite = 4;
/** A leaf above the lowest level. */
export const entryLarge = 8;
/** In a leaf: written to since this was cleared last. */
export const entryDirty = 16;
/** In a link of the root: writes through it set `entryDirty` in their leaf. */
export const linkTracked = 16;
/** In a link: the short walk may go on here. */
export const linkShort = 32;
/** How much higher the rights are in a leaf that this function cannot reach; its page is 0. */
export const unreachableShift = 5;
/** `entryRead` and `entryWrite` of such a leaf. */
export const unreachableRead = entryRead << unreachableShift;
export const unreachableWrite = entryWrite << unreachableShift;
/** A leaf without any of these: what was mapped there was revoked, and its page is 0. */
export const rightsMask = entryRead | entryWrite | unreachableRead | unreachableWrite;
/** Said to `PageTable.map`: nothing in the arena is behind it. Never in an entry. */
export const entryUnreachable = 256;

/** How far a leaf's page is above the flags. */
export const pageShift = 8;
/** Arena pages are below this. */
export const arenaPageEnd = 2 ** (32 - pageShift);
/** What of a link is the word index of a node. At most 2^29 words: never negative. */
export const linkMask = 0x1fff_fe00;

/** The smallest page of all tables in production. */
export const pageBytes = 4096;
export const largeBytes = 512 * pageBytes;
/** 1 GiB: the largest leaf, for unreachable memory alone. */
export const hugeBytes = 512 * largeBytes;
