// What the operations of a queue take, and their check.
import { LessorError } from '../../base/errors.js';
import { toCount, toIova } from '../../base/units.js';
import { mqdma } from '../../device/mqdma/datasheet.js';

export interface CopyOperands {
  /** IOVA of the first byte read. */
  readonly source: number | bigint;
  /** IOVA of the first byte written. Overlapping ranges leave undefined bytes. */
  readonly destination: number | bigint;
  /** 0 to 2^30. */
  readonly lengthBytes: number;
}

export interface FillOperands {
  readonly destination: number | bigint;
  readonly lengthBytes: number;
  /** 8 bytes, lowest first, repeated from the first byte written; a number below 256: that byte. */
  readonly pattern: number | bigint;
}

export interface CompareOperands {
  /** IOVAs of the two ranges. */
  readonly source: number | bigint;
  readonly destination: number | bigint;
  readonly lengthBytes: number;
}

export interface Crc32cOperands {
  readonly source: number | bigint;
  readonly lengthBytes: number;
  /** CRC of the bytes that precede; default 0. */
  readonly seed?: number;
}

/** @throws LessorError `INVALID_ARGUMENT` */
export function checkLength(lengthBytes: number): number {
  return toCount(lengthBytes, 'lengthBytes', mqdma.transferBytesMax);
}

/** @throws LessorError `INVALID_ARGUMENT` */
export function checkIova(value: number | bigint, what: string): number {
  return toIova(value, what);
}

/** The two words of a pattern. @throws LessorError `INVALID_ARGUMENT` */
export function patternWords(pattern: number | bigint): { low: number; high: number } {
  if (typeof pattern === 'number') {
    const word = Math.imul(toCount(pattern, 'pattern', 0xff), 0x01010101) >>> 0;
    return { low: word, high: word };
  }
  if (pattern < 0n || pattern >= 1n << 64n) {
    throw new LessorError('INVALID_ARGUMENT', 'pattern is not an unsigned 64-bit number');
  }
  return { low: Number(pattern & 0xffffffffn), high: Number(pattern >> 32n) };
}
