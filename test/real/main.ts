// `npm run test:vm -- [--kernel stock|patched]... [--list] [WORD...]`: real functions end to end,
// in a virtual machine for each kernel and group of cases. Words choose cases by parts of their
// names. One line each on stdout, the sum last; exits with 1 when one failed.
import { parseArgs } from 'node:util';
import { judgeWarnings } from '../kernel/kernel-warnings.js';
import { rootPath } from '../tools/root.js';
import { runInVm, type VmResult } from '../vm/boot.js';
import { lastLines, panicIn } from '../vm/console.js';
import { type KernelFlavour, kernelFlavours } from '../vm/kernel-recipe.js';
import { startServedMqdma } from '../vm/served-mqdma.js';
import { VmUnavailable } from '../vm/unavailable.js';
import { prepareVm, type Vm } from '../vm/vm.js';
import type { CaseGroup, CaseReport } from './case.js';
import { groups } from './cases/index.js';
import { isChosen } from './choice.js';
import { caseLine, Sums } from './summary.js';

const guestMsMax = 1_200_000;
const consoleLines = 40;

const { values, positionals: words } = parseArgs({
  options: {
    kernel: { type: 'string', multiple: true, default: [...kernelFlavours] },
    list: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});
const chosen = isChosen(words);
const flavours = kernelFlavours.filter((flavour) => values.kernel.includes(flavour));
const sums = new Sums();

function say(text: string): void {
  process.stderr.write(`test:vm: ${text}\n`);
}

function tell(flavour: KernelFlavour, group: CaseGroup, report: CaseReport): void {
  sums.add(`${flavour}, ${group.name}`, report.outcome);
  process.stdout.write(`${caseLine(flavour, report)}\n`);
}

/** Takes the reports apart that come in pieces. */
function reportReader(take: (report: CaseReport) => void): (bytes: Buffer) => void {
  let rest = '';
  return (bytes) => {
    const lines = (rest + String(bytes)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) take(JSON.parse(line) as CaseReport);
  };
}

/** Why a guest cannot have done all that it should, whatever its cases said. */
function troubleOf({ end, status, console, complaints }: VmResult): string | undefined {
  const { unknown } = judgeWarnings(console);
  if (unknown.length > 0) return `the kernel warned: ${unknown.join('\n')}`;
  if (end === 'exited' && status === 0) return undefined;
  const why = panicIn(console) ?? `status ${status}; QEMU said: ${complaints}`;
  return `the guest ${end}: ${why}\n${lastLines(console, consoleLines)}`;
}

async function runGroup(vm: Vm, flavour: KernelFlavour, group: CaseGroup): Promise<void> {
  const names = group.names(flavour).filter(chosen);
  if (names.length === 0) return;
  const missing = new Set(names);
  const guest = rootPath('dist/test/real/guest.js');
  await using mqdma = await (group.serveDevice ?? startServedMqdma)();
  const result = await runInVm([process.execPath, guest, flavour, group.name, ...words], {
    vm,
    mqdma,
    timeoutMs: guestMsMax,
    onStdout: reportReader((report) => {
      missing.delete(report.name);
      tell(flavour, group, report);
    }),
    onStderr: (bytes) => process.stderr.write(bytes),
  });
  const trouble = troubleOf(result);
  const failed = { outcome: 'failed', tookMs: result.elapsedMs, labels: [] } as const;
  for (const name of missing) tell(flavour, group, { ...failed, name, detail: 'it did not run' });
  if (trouble !== undefined) {
    tell(flavour, group, { ...failed, name: `${group.name}: the guest`, detail: trouble });
  }
}

async function runKernel(flavour: KernelFlavour): Promise<void> {
  let vm: Vm;
  try {
    vm = await prepareVm({ say }, flavour);
  } catch (error) {
    if (!(error instanceof VmUnavailable)) throw error;
    say(`not tested on the ${flavour} kernel: ${error.message}`);
    const skipped = { outcome: 'skipped', tookMs: 0, labels: [], detail: '' } as const;
    for (const group of groups) {
      for (const name of group.names(flavour).filter(chosen)) {
        tell(flavour, group, { ...skipped, name });
      }
    }
    return;
  }
  for (const group of groups) await runGroup(vm, flavour, group);
}

function list(): void {
  for (const flavour of flavours) {
    for (const name of groups.flatMap((group) => group.names(flavour)).filter(chosen)) {
      process.stdout.write(`${flavour.padEnd(7)}  ${name}\n`);
    }
  }
}

if (values.list) list();
else {
  for (const flavour of flavours) await runKernel(flavour);
  process.stdout.write(`${sums.line()}\n`);
  process.exitCode = sums.total.failed === 0 ? 0 : 1;
}
