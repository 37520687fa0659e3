// The other tests of the room, for mutations that no rule kills: those files that reach one.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly message?: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

let reports = 0;
/** All files in turn, on a machine that does other work, too. */
const reachMsMax = 300_000;
/** Those that reach one mutation. */
const killMsMax = 60_000;

async function vitest(
  folder: string,
  files: readonly string[],
  env: NodeJS.ProcessEnv,
  timeoutMs: number,
): Promise<Report> {
  const report = join(folder, `report-${reports++}.json`);
  const script = join(folder, 'node_modules/vitest/vitest.mjs');
  const options = ['run', '--root', folder, '--reporter=json', `--outputFile=${report}`];
  const child = spawn(process.execPath, [script, ...options, ...files], {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: 'ignore',
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  await once(child, 'exit');
  if (!existsSync(report)) return { testResults: [] };
  return JSON.parse(readFileSync(report, 'utf8')) as Report;
}

function failureIn(report: Report): string | undefined {
  for (const { name, status, assertionResults } of report.testResults) {
    const file = name.replace(/^.*\/dist\/src\/(.*)\.test\.js$/, '$1');
    const failed = assertionResults.find((each) => each.status === 'failed');
    if (failed !== undefined) return `${file}: ${failed.fullName}`;
    if (status === 'failed') return `${file}: does not finish`;
  }
  return report.testResults.length === 0 ? 'a test that hangs' : undefined;
}

/** Test files by the mutations that they reach. */
export async function suiteReach(folder: string): Promise<Map<number, string[]>> {
  const path = join(folder, 'reach.jsonl');
  const failure = failureIn(await vitest(folder, [], { LESSOR_MUTATION_REACH: path }, reachMsMax));
  if (failure !== undefined) throw new TypeError(`fails with every check: ${failure}`);
  const reach = new Map<number, string[]>();
  for (const line of readFileSync(path, 'utf8').trim().split('\n')) {
    const { testPath, reached } = JSON.parse(line) as { testPath: string; reached: number[] };
    for (const number of reached) reach.set(number, [...(reach.get(number) ?? []), testPath]);
  }
  return reach;
}

/** The test that fails without the check. */
export async function killerInSuites(
  folder: string,
  number: number,
  files: readonly string[],
): Promise<string | undefined> {
  if (files.length === 0) return undefined;
  return failureIn(await vitest(folder, files, { LESSOR_MUTATION: String(number) }, killMsMax));
}
