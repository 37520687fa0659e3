// What `lessor doctor` does: gathers, judges, prints.
import { styleText } from 'node:util';
import { type Check, type DoctorReport, reportOf } from '../doctor/check.js';
import { functionChecks } from '../doctor/checks-function.js';
import { machineChecks } from '../doctor/checks-machine.js';
import { boundFunctions, gatherFunction } from '../doctor/gather-function.js';
import { gatherMachine } from '../doctor/gather-machine.js';
import { parsePciAddress } from '../function/vfio/pci-address.js';
import { exitStatus } from './exit.js';
import { printJson, printLines } from './output.js';

const colours = { ok: 'green', warn: 'yellow', fail: 'red' } as const;
const verdictChars = 4;
const idChars = 19;

function checkLines({ id, verdict, found, remedy }: Check): string[] {
  const word = verdict.padEnd(verdictChars);
  const shown = process.stdout.isTTY ? styleText(colours[verdict], word) : word;
  const indent = ' '.repeat(verdictChars + 2);
  const lines = remedy?.split('\n').map((line) => `${indent}  ${line}`) ?? [];
  return [`${shown}  ${id.padEnd(idChars)}  ${found}`, ...lines];
}

/** A report for people. */
export function reportLines({ machine, functions, ok }: DoctorReport): string[] {
  const none = ['', 'No function is with vfio-pci: "lessor bind" gives it one.'];
  return [
    'this machine',
    ...machine.flatMap(checkLines),
    ...functions.flatMap(({ address, checks }) => ['', address, ...checks.flatMap(checkLines)]),
    ...(functions.length === 0 ? none : []),
    ...(ok ? [] : ['', 'Something failed: see the lines that say so.']),
  ];
}

/** Examines the machine and functions. The exit status says whether something failed. */
export async function runDoctor(
  addresses: readonly string[],
  options: { readonly json?: boolean },
): Promise<void> {
  const asked = addresses.map(parsePciAddress);
  const machine = machineChecks(await gatherMachine());
  const functions = [];
  for (const address of asked.length > 0 ? asked : boundFunctions()) {
    functions.push({ address, checks: functionChecks(await gatherFunction(address)) });
  }
  const report = reportOf(machine, functions);
  if (options.json) printJson(report);
  else printLines(reportLines(report));
  process.exitCode = report.ok ? exitStatus.ok : exitStatus.failure;
}
