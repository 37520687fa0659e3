// Random operations against each mutant, in a process of its own: every one is caught.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { mutants } from './mutants.js';

const hook = fileURLToPath(new URL('./mutant-hook.js', import.meta.url));
const guest = fileURLToPath(new URL('./guest.js', import.meta.url));

export interface MutantResult {
  readonly name: string;
  /** The line of the call that differed; undefined when none did. */
  readonly caughtBy: string | undefined;
}

/** One after the other. */
export function* runMutants(seed: string, operations: string): Generator<MutantResult> {
  for (const [index, { name }] of mutants.entries()) {
    const options = ['--random-only', '--no-shrink', '--seed', seed, '--ops', operations];
    const { stdout, status, stderr } = spawnSync(
      process.execPath,
      ['--import', hook, guest, ...options],
      { env: { ...process.env, LESSOR_MUTANT: `${index}` }, encoding: 'utf8' },
    );
    if (status !== 0 && status !== 1) throw new Error(`the mutant "${name}" failed: ${stderr}`);
    const lines = stdout.split('\n');
    const title = lines.findIndex((line) => line.startsWith('MISMATCH'));
    const differing = lines.slice(title).find((line) => line.includes('they differ'));
    const caughtBy = title < 0 ? undefined : `${lines[title]} ${differing?.trim() ?? ''}`;
    yield { name, caughtBy };
  }
}
