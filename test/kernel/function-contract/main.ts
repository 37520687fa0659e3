// `node dist/test/kernel/function-contract/main.js [stock|patched]`: what every PciFunction and
// every Window does, over a function of the kernel. The device is served here and plugged into a
// virtual machine; the suites run in there.
import { fileURLToPath } from 'node:url';
import { rootPath } from '../../tools/root.js';
import { runInVm } from '../../vm/boot.js';
import { kernelFlavours } from '../../vm/kernel-recipe.js';
import { portAddress } from '../../vm/machine.js';
import { prepareVm } from '../../vm/vm.js';
import { addressVariable, kernelVariable } from './guest-variables.js';
import { serveCounter } from './served-counter.js';

/** The machine is emulated. */
const testTimeoutMs = 120_000;
const runMs = 1_800_000;

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** @returns Exit status of the suites; 125 when the machine failed. */
async function run(words: readonly string[]): Promise<number> {
  const flavour = kernelFlavours.find((one) => one === (words[0] ?? 'stock'));
  if (flavour === undefined) throw new RangeError(`kernels are ${kernelFlavours.join(' and ')}`);
  const folder = fileURLToPath(new URL('.', import.meta.url));
  const vitest = rootPath('node_modules/vitest/vitest.mjs');
  const times = [`--testTimeout=${testTimeoutMs}`, `--hookTimeout=${testTimeoutMs}`];
  const vm = await prepareVm({ say }, flavour);
  await using mqdma = await serveCounter();
  // There is one device.
  const how = ['--no-color', '--reporter=verbose', '--no-file-parallelism'];
  const result = await runInVm([process.execPath, vitest, 'run', ...how, ...times, folder], {
    vm,
    mqdma,
    timeoutMs: runMs,
    env: { [addressVariable]: portAddress, [kernelVariable]: flavour },
    onStdout: (bytes) => process.stdout.write(bytes),
    onStderr: (bytes) => process.stderr.write(bytes),
  });
  if (result.end !== 'exited') say(`the machine ended: ${result.end}\n${result.console}`);
  return result.status ?? 125;
}

process.exitCode = await run(process.argv.slice(2));
