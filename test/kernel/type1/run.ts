// Runs what is tried of the container, then what needs a process that may lock little memory.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { createOs } from '../../../src/os/index.js';
import { restrictedCases, type Type1Case, type1Cases } from './cases.js';
import { Type1Rig } from './rig.js';

const lockedBytesMax = 1024 * 1024;
const without = '-ipc_lock,-sys_resource';

/** @param say - Hears a line for each case. @returns What is wrong, a line each. */
export async function runType1(say: (line: string) => void): Promise<readonly string[]> {
  const failures = await runCases(type1Cases, say);
  const restricted = runRestricted();
  say(restricted.output.trimEnd());
  const all =
    restricted.status === 0 ? failures : [...failures, 'as a process that may lock little'];
  const count = type1Cases.length + 1;
  say(`${count - all.length} of ${count} held, the last of them as a process that may lock little`);
  return all;
}

/** As `runType1`, in a process that may lock little. */
export function runType1Restricted(say: (line: string) => void): Promise<readonly string[]> {
  return runCases(restrictedCases, say);
}

async function runCases(
  cases: readonly Type1Case[],
  say: (line: string) => void,
): Promise<readonly string[]> {
  const failures: string[] = [];
  const os = createOs();
  await using rig = await Type1Rig.open(os);
  for (const { name, run } of cases) {
    const failure = await failureOf(run, rig);
    say(failure === undefined ? `ok ${name}` : `NOT OK ${name}: ${failure}`);
    if (failure !== undefined) failures.push(`${name}: ${failure}`);
  }
  return failures;
}

async function failureOf(run: Type1Case['run'], rig: Type1Rig): Promise<string | undefined> {
  try {
    await run(rig);
    return undefined;
  } catch (error) {
    return error instanceof Error ? `${error.message}\n${error.stack}` : String(error);
  }
}

function runRestricted(): { readonly status: number | null; readonly output: string } {
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  const { status, stdout, error } = spawnSync(
    'setpriv',
    [
      ...['--bounding-set', without, '--inh-caps', without],
      ...['prlimit', `--memlock=${lockedBytesMax}:${lockedBytesMax}`],
      ...[process.execPath, main, '--restricted'],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' },
  );
  if (error !== undefined) throw error;
  return { status, output: stdout };
}
