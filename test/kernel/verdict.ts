// What a run comes to: its last line, and what stands against it.
import { reachablePairs, unreachablePairs } from './pairs.js';
import type { Tally } from './tally.js';

/** From so many operations on everything listed has to be reached. */
export const fullLength = 20_000;
const successShare = 0.4;

export interface Verdict {
  /** For a person; nothing of it is a failure. */
  readonly notes: readonly string[];
  readonly failures: readonly string[];
  readonly lastLine: string;
}

export function verdictOf(tally: Tally, mismatchCount: number, isWhole: boolean): Verdict {
  const reachable = reachablePairs();
  const unreachable = unreachablePairs();
  const listed = reachable.length + unreachable.length;
  const reached = reachable.filter((pair) => tally.pairs.has(pair));
  const missing = reachable.filter((pair) => !tally.pairs.has(pair));
  const known = new Set([...reachable, ...unreachable.map(({ pair }) => pair)]);
  const unlisted = [...tally.pairs.keys()].filter((pair) => !known.has(pair));
  const failures: string[] = [];
  if (isWhole) for (const pair of missing) failures.push(`listed, and not reached: ${pair}`);
  if (isWhole && tally.succeeded < tally.operations * successShare) {
    failures.push(`less than ${successShare * 100} % of the operations succeeded`);
  }
  return {
    notes: [
      ...unreachable.map(
        ({ pair, reason }) => `listed, and not to be had here: ${pair}: ${reason}`,
      ),
      ...(isWhole ? [] : missing.map((pair) => `listed, and not reached this time: ${pair}`)),
      ...unlisted.sort().map((pair) => `reached, and not listed: ${pair}`),
    ],
    failures,
    lastLine: [
      `${tally.operations} operations`,
      `${tally.succeeded} succeeded`,
      `${reached.length} (command, errno) pairs of ${listed} listed`,
      `${mismatchCount} mismatches`,
      `${tally.deviations.size} listed deviations`,
    ].join(', '),
  };
}
