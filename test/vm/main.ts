// `npm run vm -- <command>`: runs a command in the virtual machine and ends as it did.
import { closeSync, openSync, writeSync } from 'node:fs';
import { help, type VmArguments, vmArguments } from './arguments.js';
import { Guest, type VmResult } from './boot.js';
import { lastLines, panicIn, warningsIn } from './console.js';
import { startServedMqdma } from './served-mqdma.js';
import { VmUnavailable } from './unavailable.js';
import { prepareVm, type Vm } from './vm.js';

const status = { usage: 2, notReady: 3, timedOut: 124, failed: 125, interrupted: 130 } as const;
const consoleLines = 40;

function say(text: string): void {
  process.stderr.write(`vm: ${text}\n`);
}

/** What is to be told after a run that did not simply end, and the status to end with. */
function concluded(result: VmResult, { timeoutMs }: VmArguments): number {
  const warnings = warningsIn(result.console);
  for (const line of warnings.slice(0, 5)) say(`the kernel warned: ${line}`);
  if (result.status !== undefined) return result.status;
  if (result.end === 'interrupted') return status.interrupted;
  say(`the last lines of the console:\n${lastLines(result.console, consoleLines)}`);
  if (result.complaints !== '') say(`QEMU said: ${result.complaints}`);
  if (result.end === 'timed-out') {
    say(`not done within ${timeoutMs / 1000} s`);
    return status.timedOut;
  }
  say(panicIn(result.console) ?? 'the machine ended without a result');
  return status.failed;
}

async function runGuest(vm: Vm, args: VmArguments, hold: (guest: Guest) => void): Promise<number> {
  const { command, timeoutMs, env, keep, machine, consolePath } = args;
  await using served = args.mqdma ? await startServedMqdma() : undefined;
  const consoleFd = consolePath === undefined ? undefined : openSync(consolePath, 'w');
  try {
    const guest = new Guest(vm, command, {
      ...{ timeoutMs, env, keep, machine },
      ...(served && { mqdma: served }),
      onStdout: (bytes) => process.stdout.write(bytes),
      onStderr: (bytes) => process.stderr.write(bytes),
      onConsole: (bytes) => {
        if (consoleFd !== undefined) writeSync(consoleFd, bytes);
      },
    });
    hold(guest);
    return concluded(await guest.result, args);
  } finally {
    if (consoleFd !== undefined) closeSync(consoleFd);
  }
}

async function run(args: VmArguments): Promise<number> {
  const interruption = new AbortController();
  let guest: Guest | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // The second time it is meant.
      if (interruption.signal.aborted) guest?.kill();
      interruption.abort();
      guest?.interrupt();
    });
  }
  let vm: Vm;
  try {
    vm = await prepareVm({ say, signal: interruption.signal }, args.flavour);
  } catch (error) {
    if (interruption.signal.aborted) return status.interrupted;
    throw error;
  }
  if (interruption.signal.aborted) return status.interrupted;
  if (args.task === 'where') {
    process.stdout.write(`${vm.kernel.folder} ${vm.kernel.version}\n`);
    return 0;
  }
  return runGuest(vm, args, (started) => {
    guest = started;
  });
}

async function main(): Promise<number> {
  let args: VmArguments;
  try {
    args = vmArguments(process.argv.slice(2));
  } catch (error) {
    say(`${(error as Error).message}; --help says more`);
    return status.usage;
  }
  if (args.task === 'help') {
    process.stdout.write(help);
    return 0;
  }
  try {
    return await run(args);
  } catch (error) {
    if (!(error instanceof VmUnavailable)) throw error;
    say(error.message);
    return status.notReady;
  }
}

process.exitCode = await main();
