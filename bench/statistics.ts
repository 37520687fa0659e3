// Order statistics over samples. Nothing here knows what was measured.
import { assert } from '../src/base/errors.js';

export interface Summary {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/**
 * The smallest sample that at least `fraction` of all samples do not exceed (nearest rank).
 *
 * @param sorted - Ascending, not empty.
 * @param fraction - In (0, 1].
 */
export function percentile(sorted: ArrayLike<number>, fraction: number): number {
  assert(sorted.length > 0, 'a percentile of no samples');
  assert(fraction > 0 && fraction <= 1, `fraction ${fraction}`);
  return sorted[Math.ceil(fraction * sorted.length) - 1]!;
}

/** Summary of samples in any order; the argument stays as it is. */
export function summarize(samples: Iterable<number>): Summary {
  const sorted = Float64Array.from(samples).sort();
  return {
    count: sorted.length,
    p50: percentile(sorted, 0.5),
    p99: percentile(sorted, 0.99),
    max: percentile(sorted, 1),
  };
}
