// Values that collide and values at every edge.
import fc from 'fast-check';
import type { Choice } from './state.js';

export const u64Max = 0xffff_ffff_ffff_ffffn;
export const u32Max = 0xffff_ffff;
const page = 4096n;
const half = 2048n;
/** The mock's addresses are [16 MiB, 2 GiB). */
const apertureStart = 0x100_0000n;
const apertureEnd = 0x8000_0000n;

function weighted<T>(...parts: readonly (readonly [number, fc.Arbitrary<T>])[]): fc.Arbitrary<T> {
  return fc.oneof(...parts.map(([weight, arbitrary]) => ({ weight, arbitrary })));
}

/** Multiples of `unit` from `start` on, and before it. */
function grid(start: bigint, unit: bigint, countMax: number): fc.Arbitrary<bigint> {
  return fc.nat({ max: countMax }).map((index) => BigInt.asUintN(64, start + unit * BigInt(index)));
}

const edges = [
  0n,
  1n,
  half - 1n,
  half,
  page - 1n,
  page,
  apertureStart - 1n,
  apertureStart,
  apertureEnd - page,
  apertureEnd - 1n,
  apertureEnd,
  (1n << 32n) - page,
  1n << 32n,
  1n << 47n,
  (1n << 48n) - page,
  1n << 48n,
  1n << 53n,
  (1n << 53n) + 1n,
  1n << 63n,
  u64Max - page + 1n,
  u64Max - page,
  u64Max - 1n,
  u64Max,
] as const;

export const edgeValue: fc.Arbitrary<bigint> = fc.constantFrom(...edges);

export const iova: fc.Arbitrary<bigint> = weighted(
  [60, grid(apertureStart, page, 24)],
  [8, grid(apertureStart, half, 48)],
  [2, grid(apertureStart, 1n, 5000)],
  [3, grid(0n, page, 8)],
  [2, grid(apertureEnd - 4n * page, page, 8)],
  [3, edgeValue],
);

export const lengthBytes: fc.Arbitrary<bigint> = weighted(
  [60, grid(page, page, 5)],
  [6, grid(half, half, 6)],
  [2, grid(0n, 1n, 5000)],
  [2, fc.constantFrom(1n << 21n, 3n << 20n, 1n << 22n, (1n << 22n) + page)],
  [3, edgeValue],
);

/** Offsets in a file, or in the pool. */
export const offset: fc.Arbitrary<bigint> = weighted(
  [30, grid(0n, page, 16)],
  [4, grid(0n, half, 16)],
  [2, grid(0n, 1n, 5000)],
  [2, fc.constantFrom(1n << 20n, (1n << 21n) - page, 1n << 21n, 3n << 20n)],
  [1, edgeValue],
);

/** READABLE and WRITEABLE, mostly FIXED, seldom nothing or more. */
export const mapFlags: fc.Arbitrary<number> = weighted(
  [20, fc.constantFrom(7, 7, 5, 3)],
  [8, fc.constantFrom(6, 4, 2)],
  [1, fc.constantFrom(0, 1, 8, 15, 0x8000_0007, 0x8000_0000)],
);

export const choice: fc.Arbitrary<Choice> = weighted<Choice>(
  [60, fc.nat({ max: 7 }).map((pick) => ({ pick }))],
  [2, fc.nat({ max: 7 }).map((other) => ({ other }))],
  [1, fc.nat({ max: 7 }).map((stale) => ({ stale }))],
  [1, fc.constantFrom(0, 1000, 0x7fff_ffff, 0x8000_0000, u32Max).map((raw) => ({ raw }))],
);

/** Mostly 0. */
export const flags: fc.Arbitrary<number> = rarely(0, 1, 2, 0x10, 0x8000_0000, u32Max);
export const reserved: fc.Arbitrary<number> = rarely(0, 1, 0x100, u32Max);

/** Nearly always the first. */
export function rarely<T>(usual: T, ...others: readonly T[]): fc.Arbitrary<T> {
  return weighted([30, fc.constant(usual)], [1, fc.constantFrom(...others)]);
}

/** Any of some values. */
export function among<T>(...values: readonly T[]): fc.Arbitrary<T> {
  return fc.constantFrom(...values);
}

export { weighted };
