// The whole comparison: deviations as they are listed, edges, then random sequences.
import type { Call } from './call.js';
import type { Command, World } from './command.js';
import { deviations } from './deviations.js';
import type { Edge } from './edges/edge.js';
import { allEdges } from './edges/index.js';
import type { Step } from './lockstep.js';
import type { Profile } from './profiles.js';
import { runRandom } from './random-run.js';
import { type Mismatch, runSequence, type Sides, type Watcher } from './sequence.js';
import type { Tally } from './tally.js';

export interface DifferentialOptions {
  readonly world: World;
  readonly sides: Sides;
  /** What random sequences are made of. */
  readonly profiles: readonly Profile[];
  readonly seed: number;
  readonly operations: number;
  readonly tally: Tally;
  /** Only the random sequence that a mismatch was reported with. */
  readonly path?: string;
  readonly mismatchesMax: number;
  readonly isRandomOnly: boolean;
  readonly isUnshrunk: boolean;
  progress(text: string): void;
}

/** A mismatch, or a listed deviation that is none. */
export interface Finding extends Mismatch {
  readonly title: string;
  /** What follows `npm run test:kernel --` to see just this again. */
  readonly again: string;
}

export function runDifferential(options: DifferentialOptions): readonly Finding[] {
  const findings: Finding[] = [];
  const { tally, path } = options;
  const watch: Watcher = (call, step, deviation) => tally.count(call, step, deviation);
  if (path === undefined && !options.isRandomOnly) {
    findings.push(...checkDeviations(options, watch));
    findings.push(...runEdges(options, allEdges(commandsOf(options.profiles)), watch));
    for (const { title, lines } of findings) options.progress(`${title}: ${lines.at(-1)}`);
    options.progress(`edges and deviations: ${tally.operations} operations`);
  }
  const operations = options.operations - tally.operations;
  for (const profile of options.profiles) {
    findings.push(...runProfile(options, profile, operations, findings.length));
  }
  return findings;
}

function commandsOf(profiles: readonly Profile[]): readonly Command<never>[] {
  return [...new Set(profiles.flatMap(({ commands }) => commands))];
}

function runProfile(
  options: DifferentialOptions,
  { commands, share, words }: Profile,
  operations: number,
  findingCount: number,
): Finding[] {
  const shares = options.profiles.reduce((sum, profile) => sum + profile.share, 0);
  const random = runRandom({
    ...options,
    commands,
    operations: Math.round((operations * share) / shares),
    mismatchesMax: options.mismatchesMax - findingCount,
    onMismatch: ({ lines }) => options.progress(`a mismatch: ${lines.at(-1)}`),
    progress: (done) => options.progress(`${done} random operations ${words}`),
  });
  return random.map(({ lines, seed, path: found, afterOperations }) => ({
    title: `random operations, after ${afterOperations} alike`,
    lines,
    again: `${words}--seed ${seed} --path ${found}`,
  }));
}

/** Each up to its first mismatch. */
export function runEdges(
  { world, sides }: Pick<DifferentialOptions, 'world' | 'sides'>,
  edges: readonly Edge[],
  watch: Watcher,
): Finding[] {
  const findings: Finding[] = [];
  for (const { name, steps } of edges) {
    const mismatch = runSequence(world, sides, steps, watch);
    if (mismatch !== undefined) findings.push({ ...mismatch, title: name, again: '--ops 0' });
  }
  return findings;
}

/** Each is seen to differ, at its last step and in no other way. */
function checkDeviations({ world, sides }: DifferentialOptions, watch: Watcher): Finding[] {
  const findings: Finding[] = [];
  for (const [rule, { steps }] of Object.entries(deviations)) {
    const seen: string[] = [];
    const remember = (call: Call, step: Step, deviation: string | undefined) => {
      seen.push(deviation ?? '');
      watch(call, step, deviation);
    };
    const mismatch = runSequence(world, sides, steps, remember);
    const title = `the listed deviation ${rule}`;
    if (mismatch !== undefined) findings.push({ ...mismatch, title, again: '--ops 0' });
    else if (seen.at(-1) !== rule || seen.length !== steps.length) {
      findings.push({ title, lines: ['both do the same, or differ earlier'], again: '--ops 0' });
    }
  }
  return findings;
}
