// Runs cases one after the other on a stage of their own group.
import { setTimeout as sleep } from 'node:timers/promises';
import type { KernelFlavour } from '../vm/kernel-recipe.js';
import { type CaseGroup, type CaseReport, caseMsMax, type RealCase, Skipped } from './case.js';

/** What cases share while they run. */
export interface GroupStage extends AsyncDisposable {
  /** Labels of the leases since the last call. */
  takeLabels(): readonly string[];
  /** What a program said last, since the last call. */
  takeRemark(): string;
  /** Before a case. */
  begin(): Promise<void> | void;
  /** After a case, failed or not. @throws Error with what it left behind. */
  settle(): Promise<void>;
}

async function inTime(work: Promise<void>, msMax: number): Promise<void> {
  const stop = new AbortController();
  const late = sleep(msMax, undefined, { signal: stop.signal }).then(() => {
    throw new Error(`not done in ${msMax / 1000} s`);
  });
  late.catch(() => undefined);
  try {
    await Promise.race([work, late]);
  } finally {
    stop.abort();
  }
}

async function problemOf(work: () => Promise<void>, msMax = caseMsMax): Promise<unknown> {
  try {
    await inTime(work(), msMax);
    return undefined;
  } catch (error) {
    return error;
  }
}

function described(problem: unknown): string {
  return problem instanceof Error ? (problem.stack ?? problem.message) : String(problem);
}

function outcomeOf(problem: unknown, remark: string): Pick<CaseReport, 'outcome' | 'detail'> {
  if (problem === undefined) return { outcome: 'passed', detail: remark };
  if (problem instanceof Skipped) return { outcome: 'skipped', detail: problem.message };
  return { outcome: 'failed', detail: described(problem) };
}

interface GroupParts<Stage> extends Pick<CaseGroup, 'name' | 'serveDevice'> {
  readonly cases: readonly RealCase<Stage>[];
  /** Makes the stage; when it fails, every case of the group has failed. */
  open(flavour: KernelFlavour): Promise<Stage>;
}

export function caseGroup<Stage extends GroupStage>({
  name,
  open,
  cases,
  serveDevice,
}: GroupParts<Stage>): CaseGroup {
  const casesFor = (flavour: KernelFlavour) =>
    cases.filter(({ kernels }) => kernels?.includes(flavour) ?? true);
  const fullName = (one: RealCase<Stage>): string => `${name}: ${one.name}`;

  async function runOne(stage: Promise<Stage>, one: RealCase<Stage>): Promise<CaseReport> {
    const startMs = performance.now();
    let opened: Stage | undefined;
    let problem = await problemOf(async () => {
      opened = await stage;
      await opened.begin();
      await one.run(opened);
    }, one.msMax);
    // What a failed case left is no news, but the next one wants a clean stage.
    const left = await problemOf(async () => opened?.settle());
    problem ??= left;
    return {
      name: fullName(one),
      ...outcomeOf(problem, opened?.takeRemark() ?? ''),
      tookMs: performance.now() - startMs,
      labels: opened?.takeLabels() ?? [],
    };
  }

  return {
    name,
    ...(serveDevice === undefined ? {} : { serveDevice }),
    names: (flavour) => casesFor(flavour).map(fullName),
    async run(flavour, isChosen, report) {
      const mine = casesFor(flavour).filter((one) => isChosen(fullName(one)));
      if (mine.length === 0) return;
      const stage = open(flavour);
      stage.catch(() => undefined);
      for (const one of mine) report(await runOne(stage, one));
      await (await stage.catch(() => undefined))?.[Symbol.asyncDispose]();
    },
  };
}
