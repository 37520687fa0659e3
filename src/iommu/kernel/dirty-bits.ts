// Bitmaps of dirty pages: how large one is, and adding one to the caller's.
import { OsError } from '../../base/errors.js';
import type { DirtyBitmapRequest, UserBits } from '../requests.js';

/** A terabyte of 4 KiB pages. */
const bitmapBytesMax = 32 * 1024 * 1024;

/**
 * Bytes for the bits of a request, in whole 64-bit words. The kernel refuses a page size of 0.
 *
 * @throws OsError `ENOMEM`, `EFAULT` when the caller's bitmap has less
 */
export function bitmapBytes(
  { length, pageSize, bitmap }: Omit<DirtyBitmapRequest, 'flags' | 'hwptId' | 'iova'>,
  name: string,
): number {
  const bits = pageSize === 0n ? 0n : (length + pageSize - 1n) / pageSize;
  if (bits > BigInt(bitmapBytesMax) * 8n) throw new OsError('ENOMEM', name, `${bits} bits`);
  const bytes = Math.ceil(Number(bits) / 8);
  if (bitmap instanceof Uint8Array && bitmap.length < bytes) {
    throw new OsError('EFAULT', name, `a bitmap of ${bitmap.length} bytes for ${bits} bits`);
  }
  return Math.ceil(bytes / 8) * 8;
}

/** Sets in the caller's bitmap what is set in `found`. */
export function mergeBits(found: Uint8Array, into: Uint8Array | UserBits): void {
  if (into instanceof Uint8Array) {
    found.forEach((byte, index) => {
      if (byte !== 0) into[index] = (into[index] ?? 0) | byte;
    });
    return;
  }
  let start: number | undefined;
  for (let bit = 0; bit <= found.length * 8; bit++) {
    // Most of it is empty.
    while (start === undefined && (bit & 7) === 0 && found[bit >> 3] === 0) bit += 8;
    const isSet = ((found[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0;
    if (isSet) start ??= bit;
    else if (start !== undefined) {
      into.set(BigInt(start), BigInt(bit - start));
      start = undefined;
    }
  }
}
