// Drives the child: reads its lines, and when it hangs, ends it and goes on behind the mutation
// that it hung on.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { systemClock } from '../../src/os/clock.js';

export interface Verdict {
  /** The rule or test that fails without the check. */
  readonly killedBy: string | undefined;
  readonly reachedBy: number;
}

interface Line {
  readonly broken?: string;
  readonly start?: number;
  readonly done?: number;
  readonly killedBy?: string;
  readonly reachedBy?: number;
}

const silenceMsMax = 4_000;

/** One child, until it is done or hangs. @returns The mutation that it hung on. */
async function runChild(
  folder: string,
  numbers: readonly number[],
  verdicts: Map<number, Verdict>,
): Promise<number | undefined> {
  const script = join(folder, 'dist/test/mutation/child.js');
  const child = spawn(process.execPath, [script, ...numbers.map(String)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let current: number | undefined;
  let timer: Disposable | undefined;
  const watch = (): void => {
    timer?.[Symbol.dispose]();
    timer = systemClock.after(silenceMsMax, () => child.kill('SIGKILL'));
  };
  // The first run, with every check, takes its time and says nothing.
  timer = systemClock.after(60_000, () => child.kill('SIGKILL'));
  for await (const text of createInterface({ input: child.stdout })) {
    watch();
    const line = JSON.parse(text) as Line;
    if (line.broken !== undefined) throw new TypeError(`fails with every check: ${line.broken}`);
    if (line.start !== undefined) current = line.start;
    if (line.done === undefined) continue;
    current = undefined;
    verdicts.set(line.done, { killedBy: line.killedBy, reachedBy: line.reachedBy ?? 0 });
  }
  timer?.[Symbol.dispose]();
  return current;
}

/** Each mutation against the rules that reach it. */
export async function runRules(
  folder: string,
  numbers: readonly number[],
): Promise<Map<number, Verdict>> {
  const verdicts = new Map<number, Verdict>();
  let left = numbers;
  while (left.length > 0) {
    const hungOn = await runChild(folder, left, verdicts);
    if (hungOn !== undefined) verdicts.set(hungOn, { killedBy: 'a rule that hangs', reachedBy: 1 });
    const next = left.filter((number) => !verdicts.has(number));
    if (next.length === left.length) throw new TypeError('the rules do not run');
    left = next;
  }
  return verdicts;
}
