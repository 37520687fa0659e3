// What a case is, and how cases are run: in groups that share what is costly to start, one line
// each, and a sum at the end.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab } from './lab.js';

export interface Group {
  readonly name: string;
  readonly caseNames: readonly string[];
  /** Runs those of its cases that are chosen; reports each. */
  run(lab: Lab, chosen: (name: string) => boolean, report: Report): Promise<void>;
}

export type Report = (name: string, elapsedMs: number, problem: unknown) => void;

/** Busy machines run this too: only a hang is over it. */
const caseDeadlineMs = 90_000;

async function inTime<T>(work: Promise<T>): Promise<T> {
  const stop = new AbortController();
  const late = sleep(caseDeadlineMs, undefined, { signal: stop.signal }).then(() => {
    throw new Error(`not done in ${caseDeadlineMs / 1000} s`);
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    stop.abort();
  }
}

/**
 * Cases that share a stage. They run in order; each leaves the stage as the next expects it.
 *
 * @param open - Makes the stage; when it fails every case of the group has failed.
 */
export function group<Stage>(
  name: string,
  open: (lab: Lab) => Promise<Stage>,
  cases: Readonly<Record<string, (stage: Stage, lab: Lab) => Promise<void>>>,
): Group {
  const entries = Object.entries(cases).map(
    ([title, body]) => [`${name}: ${title}`, body] as const,
  );
  return {
    name,
    caseNames: entries.map(([caseName]) => caseName),
    async run(lab, chosen, report) {
      const mine = entries.filter(([caseName]) => chosen(caseName));
      if (mine.length === 0) return;
      let stage: Promise<Stage> | undefined;
      for (const [caseName, body] of mine) {
        const startMs = performance.now();
        let problem: unknown;
        try {
          stage ??= inTime(open(lab));
          const opened = await stage;
          await inTime(body(opened, lab));
        } catch (error) {
          problem = error;
        }
        report(caseName, performance.now() - startMs, problem);
      }
      await lab.clear();
    },
  };
}

/** What the last line says. */
export interface Sum {
  passed: number;
  failed: number;
  skipped: number;
}

export function lastLine({ passed, failed, skipped }: Sum): string {
  return `${passed} cases passed, ${failed} failed, ${skipped} skipped`;
}
