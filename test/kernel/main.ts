// `npm run test:kernel -- [--ops N] [--seed N] [--path P] [--mismatches N]
// [--mutants]`: the same operations on
// the kernel's iommufd and on the soft one, in a virtual machine.

import { rootPath } from '../tools/root.js';
import { runInVm } from '../vm/boot.js';
import { VmUnavailable } from '../vm/unavailable.js';
import { prepareVm } from '../vm/vm.js';

const timeoutMs = 1_800_000;

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function main(): Promise<number> {
  const guest = rootPath('dist/test/kernel/guest.js');
  try {
    const vm = await prepareVm({ say });
    const { status } = await runInVm([process.execPath, guest, ...process.argv.slice(2)], {
      vm,
      timeoutMs,
      onStdout: (bytes) => process.stdout.write(bytes),
      onStderr: (bytes) => process.stderr.write(bytes),
    });
    return status ?? 1;
  } catch (error) {
    if (!(error instanceof VmUnavailable)) throw error;
    say(`skipped: the comparison with the kernel's iommufd. ${error.message}`);
    return 0;
  }
}

process.exitCode = await main();
