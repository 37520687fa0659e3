// Plain arrays as bits of whoever calls.
import type { UserBits } from '../requests.js';

/** Bits past the end of an array are left out. */
export function bitsOf(bitmap: Uint8Array | UserBits): UserBits {
  if (!(bitmap instanceof Uint8Array)) return bitmap;
  const bitEnd = BigInt(bitmap.length) * 8n;
  return {
    set(firstBit, bitCount) {
      const end = firstBit + bitCount < bitEnd ? firstBit + bitCount : bitEnd;
      for (let bit = Number(firstBit); bit < Number(end); bit++) {
        bitmap[bit >> 3]! |= 1 << (bit & 7);
      }
    },
  };
}
