// Branded numbers and exact conversions at the public edge.
import { LessorError } from './errors.js';

declare const unit: unique symbol;
export type Unit<T, Name extends string> = T & { readonly [unit]: Name };

/** I/O virtual address in bytes, below 2^48: exact in a double. */
export type Iova = Unit<number, 'Iova'>;

export const KiB = 1024;
export const MiB = 1024 * 1024;
export const GiB = 1024 * 1024 * 1024;
/** One past the highest IOVA that lessor handles as a number. */
export const iovaEnd = 2 ** 48;

/**
 * An address given by a caller, checked to be an exact IOVA in [0, 2^48).
 *
 * @throws LessorError `INVALID_ARGUMENT` when negative, fractional or not below 2^48.
 */
export function toIova(value: number | bigint, what = 'iova'): Iova {
  return toCount(value, what, iovaEnd - 1) as Iova;
}

/**
 * A quantity given by a caller, checked to be an integer in [0, max].
 *
 * @throws LessorError `INVALID_ARGUMENT`
 */
export function toCount(value: number | bigint, what: string, max: number): number {
  const inRange =
    typeof value === 'bigint'
      ? value >= 0n && value <= BigInt(max)
      : Number.isSafeInteger(value) && value >= 0 && value <= max;
  if (!inRange) {
    throw new LessorError('INVALID_ARGUMENT', `${what} ${value} is not an integer in 0..${max}`);
  }
  return Number(value);
}

/** True when `value` is a multiple of `alignment`, for values up to 2^53. */
export function isAligned(value: number, alignment: number): boolean {
  return value % alignment === 0;
}

/** Smallest multiple of `alignment` that is not below `value`. */
export function roundUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

/** Largest multiple of `alignment` that is not above `value`. */
export function roundDown(value: number, alignment: number): number {
  return Math.floor(value / alignment) * alignment;
}

/** Smallest power of two that is not below `value`, for 1 <= value <= 2^52. */
export function powerOfTwoAtLeast(value: number): number {
  let power = 1;
  while (power < value) power *= 2;
  return power;
}

/** `0x` and lower-case digits, as addresses are shown everywhere. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
