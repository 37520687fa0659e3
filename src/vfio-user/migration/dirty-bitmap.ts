// Bitmaps of dirty pages: how long, and what a page size may be. Pure.
import { refuse } from '../checks.js';

function isPowerOfTwo(value: bigint): boolean {
  return value > 0n && (value & (value - 1n)) === 0n;
}

/** @throws ProtocolError `EINVAL` for what is no power of two. */
export function checkPageSize(field: string, pageBytes: bigint): void {
  if (!isPowerOfTwo(pageBytes)) refuse(field, 0, `a page of ${pageBytes} bytes`);
}

/** One bit a page, in whole words of 64 bits. */
export function bitmapBytes(lengthBytes: bigint, pageBytes: bigint): bigint {
  const pages = (lengthBytes + pageBytes - 1n) / pageBytes;
  return ((pages + 63n) / 64n) * 8n;
}

/**
 * The bytes of a bitmap that a peer asks for.
 *
 * @throws ProtocolError `EINVAL` for a page size that is none or longer than the range, and for
 *   more than `bytesMax`.
 */
export function checkBitmap(
  field: string,
  lengthBytes: bigint,
  pageBytes: bigint,
  bytesMax: number,
): number {
  checkPageSize(field, pageBytes);
  if (pageBytes > lengthBytes) refuse(field, 0, `a page of ${pageBytes} in ${lengthBytes} bytes`);
  const bytes = bitmapBytes(lengthBytes, pageBytes);
  if (bytes > BigInt(bytesMax)) refuse(field, 0, `a bitmap of ${bytes} bytes`);
  return Number(bytes);
}
