// What every PciFunction and every Window does, over a function of the kernel: the suites run in a
// guest whose device is the one that they count with.

import { fileURLToPath } from 'node:url';
import { addressVariable, kernelVariable } from '../../kernel/function-contract/guest-variables.js';
import { serveCounter } from '../../kernel/function-contract/served-counter.js';
import { portAddress } from '../../vm/machine.js';
import { caseGroup } from '../group.js';
import { type Program, type ProgramResult, ProgramStage, programCase } from '../program.js';

const vitest = 'node_modules/vitest/vitest.mjs';
const suites = new URL('../../kernel/function-contract/', import.meta.url);
/** For one test: the machine is emulated. */
const testTimeoutMs = 120_000;
const suiteMsMax = 1_100_000;

/** The line in which vitest counts tests. */
function judgeVitest(stdout: string): ProgramResult {
  const counted = stdout.split('\n').find((line) => /^\s*Tests\s/.test(line)) ?? '';
  if (!/\d+ passed/.test(counted)) throw new Error(`no test passed: ${stdout}`);
  return { labels: [], remark: counted.trim() };
}

function suite(name: string, file: string): Program {
  const times = [`--testTimeout=${testTimeoutMs}`, `--hookTimeout=${testTimeoutMs}`];
  const how = ['--no-color', '--reporter=default', ...times];
  return {
    name,
    words: () => [vitest, 'run', ...how, fileURLToPath(new URL(file, suites))],
    env: (flavour) => ({ [addressVariable]: portAddress, [kernelVariable]: flavour }),
    msMax: suiteMsMax,
    judge: judgeVitest,
  };
}

export const contractGroup = caseGroup({
  name: 'contracts',
  open: async (flavour) => new ProgramStage(flavour),
  cases: [
    suite('functions, by iommufd and by container', 'function-contract.test.js'),
    suite('windows', 'window-contract.test.js'),
  ].map(programCase),
  serveDevice: serveCounter,
});
