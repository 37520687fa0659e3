// The typed contract of every iommufd, over the kernel's: a test file of its own, run here.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { rootPath } from '../tools/root.js';

const file = fileURLToPath(new URL('./iommufd-contract.test.js', import.meta.url));
/** The machine is emulated. */
const testTimeoutMs = 60_000;

export interface ContractResult {
  readonly isMet: boolean;
  /** What the test runner said: a line when it is met. */
  readonly text: string;
}

/** Only in the test machine. */
export function runContract(): ContractResult {
  const vitest = rootPath('node_modules/vitest/vitest.mjs');
  const { status, stdout, stderr, error } = spawnSync(
    process.execPath,
    [vitest, 'run', '--no-color', '--reporter=json', `--testTimeout=${testTimeoutMs}`, file],
    { cwd: rootPath('.'), encoding: 'utf8', maxBuffer: Infinity },
  );
  if (error !== undefined) throw error;
  const counted = countsOf(stdout);
  // Tests that are left out would be none at all.
  const isMet = status === 0 && counted !== undefined && counted.passed > 0 && counted.other === 0;
  return isMet
    ? { isMet, text: `the contract of every iommufd: ${counted.passed} tests passed\n` }
    : { isMet, text: `${stdout}\n${stderr}\n` };
}

function countsOf(report: string): { passed: number; other: number } | undefined {
  try {
    const counts = JSON.parse(report) as { numPassedTests: number; numTotalTests: number };
    const { numPassedTests: passed, numTotalTests: all } = counts;
    return { passed, other: all - passed };
  } catch {
    return undefined;
  }
}
