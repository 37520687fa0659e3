// Random sequences from a seed, shrunk when the sides differ.
import fc from 'fast-check';
import type { Command, World } from './command.js';
import { openingsOf } from './opening.js';
import { type Operation, operationOf } from './operation.js';
import { type Mismatch, runSequence, type Sides } from './sequence.js';
import type { Tally } from './tally.js';

const sequenceLengthMax = 100;
const sequencesPerBatch = 10;
/** For making a mismatch shorter. */
const shrinkMsMax = 100_000;

export interface RandomRun {
  readonly world: World;
  readonly sides: Sides;
  readonly commands: readonly Command<never>[];
  readonly seed: number;
  readonly operations: number;
  readonly tally: Tally;
  /** Shows just one counterexample again. */
  readonly path?: string;
  /** A mismatch is reported as it is found, not the shortest that shows it. */
  readonly isUnshrunk?: boolean;
  /** Goes on until it has found so many; 1 by default. */
  readonly mismatchesMax?: number;
  /** Before it is made shorter. */
  onMismatch(mismatch: Mismatch): void;
  progress(done: number): void;
}

export interface Found extends Mismatch {
  readonly seed: number;
  readonly path: string;
  readonly afterOperations: number;
}

/** Every batch up to its first mismatch. */
export function runRandom(run: RandomRun): readonly Found[] {
  const found: Found[] = [];
  const operation = operationOf(run.commands);
  const rest = fc.array(operation, { minLength: 1, maxLength: sequenceLengthMax, size: 'max' });
  const arbitrary = fc
    .tuple(fc.constantFrom(...openingsOf(run.commands)), rest)
    .map(([opening, operations]) => [...opening, ...operations]);
  let done = 0;
  for (let batch = 0; done < run.operations; batch++) {
    if (found.length >= (run.mismatchesMax ?? 1)) break;
    const seed = run.path === undefined ? run.seed * 1_000_003 + batch : run.seed;
    let isShrinking = false;
    let last: Mismatch | undefined;
    let shrinkEndMs = Infinity;
    const attempt = (operations: readonly Operation[]) => {
      if (performance.now() > shrinkEndMs) return true;
      const whole = isShrinking ? operations : operations.slice(0, run.operations - done);
      const mismatch = runSequence(run.world, run.sides, whole, (call, step, deviation) => {
        if (isShrinking) return;
        done += 1;
        run.tally.count(call, step, deviation);
      });
      if (mismatch === undefined) return true;
      if (!isShrinking) {
        run.onMismatch(mismatch);
        shrinkEndMs = performance.now() + shrinkMsMax;
      }
      isShrinking = true;
      last = mismatch;
      return false;
    };
    const details = fc.check(fc.property(arbitrary, attempt), {
      seed,
      numRuns: sequencesPerBatch,
      ...(run.path === undefined ? {} : { path: run.path }),
      endOnFailure: run.path !== undefined || run.isUnshrunk === true,
    });
    if (details.failed && last === undefined) throw details.errorInstance;
    if (details.failed) {
      found.push({
        ...last!,
        seed,
        path: details.counterexamplePath ?? '',
        afterOperations: done,
      });
    }
    run.progress(done);
    if (run.path !== undefined) break;
  }
  return found;
}
