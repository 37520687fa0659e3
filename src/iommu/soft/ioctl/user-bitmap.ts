// A bitmap in memory of the caller, whose bits are set and never cleared.
import { isOsError } from '../../../base/errors.js';
import type { UserBits } from '../../requests.js';
import { addressAfter, bytesInPage, type UserSpace } from './user-space.js';

const manyBytes = 4096;

/**
 * Bits are set page by page of the bitmap, up to the first page that cannot be written: that ends
 * one `set` and nothing else.
 */
export function userBitmap(space: UserSpace, address: bigint): UserBits {
  return {
    set(firstBit, bitCount) {
      const end = firstBit + bitCount;
      for (let bit = firstBit; bit < end; ) {
        const start = addressAfter(address, bit >> 3n);
        const skipped = Number(bit & 7n);
        const roomBits = bytesInPage(start, manyBytes) * 8 - skipped;
        const left = end - bit;
        const count = left < BigInt(roomBits) ? Number(left) : roomBits;
        if (!setInPage(space, start, skipped, count)) return;
        bit += BigInt(count);
      }
    },
  };
}

/** False when the page cannot be read or written. */
function setInPage(space: UserSpace, start: bigint, skipped: number, count: number): boolean {
  const end = skipped + count;
  try {
    const bytes = space.read(start, Math.ceil(end / 8));
    for (let bit = skipped; bit < end; bit++) bytes[bit >> 3]! |= 1 << (bit & 7);
    space.write(start, bytes);
    return true;
  } catch (error) {
    if (isOsError(error, 'EFAULT')) return false;
    throw error;
  }
}
