// `npm run test:kernel -- [--ops N] [--seed N] [--path P] [--device] [--mismatches N] [--mutants]`:
// the same operations on the kernel's iommufd and on the soft one, in a virtual machine.

import { StringDecoder } from 'node:string_decoder';
import { rootPath } from '../tools/root.js';
import { runInVm, type VmResult } from '../vm/boot.js';
import { lastLines, panicIn } from '../vm/console.js';
import { VmUnavailable } from '../vm/unavailable.js';
import { prepareVm } from '../vm/vm.js';
import { judgeWarnings } from './kernel-warnings.js';

const timeoutMs = 1_800_000;
const consoleLines = 40;

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Passes on what is written but for its last line, which is held until the end. */
class LastLineHeld {
  readonly #decoder = new StringDecoder();
  #held = '';

  write(bytes: Uint8Array): void {
    const text = this.#held + this.#decoder.write(Buffer.from(bytes));
    const start = text.lastIndexOf('\n', text.length - 2) + 1;
    process.stdout.write(text.slice(0, start));
    this.#held = text.slice(start);
  }

  end(): void {
    process.stdout.write(this.#held);
  }
}

/** The status of the run: also the kernel itself must have found nothing wrong. */
function concluded({ end, status, console }: VmResult): number {
  const { known, unknown } = judgeWarnings(console);
  const told = new Set(known.map(({ line, reason }) => `${line}: ${reason}`));
  for (const text of told) say(`the kernel warned, as it does: ${text}`);
  for (const line of unknown) say(`the kernel WARNED: ${line}`);
  if (status === undefined) {
    say(`the last lines of the console:\n${lastLines(console, consoleLines)}`);
    say(`the machine ${end}: ${panicIn(console) ?? 'no panic'}`);
    return 1;
  }
  return status === 0 && unknown.length > 0 ? 1 : status;
}

async function main(): Promise<number> {
  // The result is the last line of all, whatever the kernel said.
  const stdout = new LastLineHeld();
  const guest = rootPath('dist/test/kernel/guest.js');
  try {
    const vm = await prepareVm({ say });
    const words = [process.execPath, guest, ...process.argv.slice(2)];
    const result = await runInVm(words, {
      vm,
      timeoutMs,
      onStdout: (bytes) => stdout.write(bytes),
      onStderr: (bytes) => process.stderr.write(bytes),
    });
    const status = concluded(result);
    stdout.end();
    return status;
  } catch (error) {
    if (!(error instanceof VmUnavailable)) throw error;
    say(`skipped: the comparison with the kernel's iommufd. ${error.message}`);
    return 0;
  }
}

process.exitCode = await main();
