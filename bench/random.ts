// Repeatable random numbers: the same work in every run.

/** Uniform integers in [0, `end`), from xorshift32; `end` at most 2^32. */
export function randomIntegers(seed: number): (end: number) => number {
  let state = seed | 0 || 1;
  return (end) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return Math.floor(((state >>> 0) / 2 ** 32) * end);
  };
}
