// Ranges of I/O virtual addresses.
import type { DmaRange } from '../endpoint.js';

/** One past the last I/O virtual address. */
export const addressEnd = 1n << 64n;

/** True when the two have a byte in common. */
export function overlaps(range: DmaRange | 'all', other: DmaRange): boolean {
  if (range === 'all') return true;
  return range.iova < other.iova + other.lengthBytes && other.iova < range.iova + range.lengthBytes;
}
