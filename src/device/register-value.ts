// What a register access gives where there is no register of that width.
import type { Value, Width } from './types.js';

/** All ones in `width` bytes: what a PCI read gives where nobody answers. */
export function allOnes(width: Width): Value {
  return width === 8 ? 0xffff_ffff_ffff_ffffn : 2 ** (8 * width) - 1;
}
