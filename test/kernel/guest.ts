// Runs inside of the virtual machine: compares, reports, and ends with status 1 when something is
// wrong.
import { parseArgs } from 'node:util';
import { createOs } from '../../src/os/index.js';
import { loadNative } from '../../src/os/native.js';
import type { World } from './command.js';
import { allCommands } from './commands/index.js';
import { type Finding, runDifferential, runEdges } from './differential.js';
import { privilegedEdges } from './edges/accounting.js';
import { runFaultMatrix } from './fault-matrix/run.js';
import { KernelSide } from './kernel-side.js';
import { WorldMemory } from './memory.js';
import { openFiles } from './open-files.js';
import { runRestricted } from './restricted.js';
import { runMutants } from './run-mutants.js';
import type { Sides } from './sequence.js';
import { createSoftParts } from './soft-parts.js';
import { SoftSide } from './soft-side.js';
import { Tally } from './tally.js';
import { fullLength, verdictOf } from './verdict.js';

/** What was done with every privilege, for the restricted process to go on with. */
const tallyVariable = 'LESSOR_TALLY';

const { values } = parseArgs({
  options: {
    ops: { type: 'string', default: `${fullLength}` },
    seed: { type: 'string', default: '1' },
    path: { type: 'string' },
    mismatches: { type: 'string', default: '1' },
    commands: { type: 'string' },
    mutants: { type: 'boolean', default: false },
    'random-only': { type: 'boolean', default: false },
    'no-shrink': { type: 'boolean', default: false },
  },
});

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function report({ title, lines, again }: Finding): void {
  say(`MISMATCH in ${title}:`);
  for (const line of lines) say(`  ${line}`);
  say(`  again: npm run test:kernel -- ${again}`);
}

interface Bench {
  readonly world: World;
  readonly sides: Sides;
}

function createBench(): Bench {
  const native = loadNative();
  const memory = new WorldMemory(createOs());
  const { files, descriptors } = openFiles(memory);
  const parts = createSoftParts();
  return {
    world: { memory, files },
    sides: {
      open: () => [new KernelSide(native, memory), new SoftSide(parts, memory, descriptors)],
    },
  };
}

/** What only the privileged can do; then the rest, restricted. */
function comparePrivileged(): number {
  const tally = new Tally();
  const findings = runEdges(createBench(), privilegedEdges, (call, step, deviation) => {
    tally.count(call, step, deviation);
  });
  for (const finding of findings) report(finding);
  const env = { [tallyVariable]: tally.toText() };
  return runRestricted(process.argv.slice(2), env) + findings.length;
}

/** @returns How much is wrong. */
function compareRestricted(before: string): number {
  const tally = Tally.fromText(before);
  const only = values.commands === undefined ? undefined : new RegExp(values.commands);
  const findings = runDifferential({
    ...createBench(),
    commands: allCommands.filter(({ name }) => only === undefined || only.test(name)),
    seed: Number(values.seed),
    operations: Number(values.ops),
    tally,
    ...(values.path === undefined ? {} : { path: values.path }),
    mismatchesMax: Number(values.mismatches),
    isRandomOnly: values['random-only'],
    isUnshrunk: values['no-shrink'],
    progress: (text) => process.stderr.write(`${text}\n`),
  });
  for (const finding of findings) report(finding);
  const isWhole =
    findings.length === 0 &&
    only === undefined &&
    !values['random-only'] &&
    Number(values.ops) >= fullLength;
  const { notes, failures, lastLine } = verdictOf(tally, findings.length, isWhole);
  for (const line of [...notes, ...failures]) say(line);
  say(lastLine);
  return findings.length + failures.length;
}

/** @returns How many mutants were not caught. */
function huntMutants(): number {
  let missed = 0;
  for (const { name, caughtBy } of runMutants(values.seed, values.ops)) {
    if (caughtBy === undefined) missed += 1;
    say(`mutant: ${name}: ${caughtBy ?? 'NOT CAUGHT'}`);
  }
  return missed;
}

/** The fault matrix, unless this run is about less than everything. @returns How much is wrong. */
async function measureFaults(): Promise<number> {
  const isPart = values.mutants || values['random-only'] || values.path !== undefined;
  if (isPart || values.commands !== undefined) return 0;
  const { failures } = await runFaultMatrix(say);
  return failures.length;
}

async function run(): Promise<number> {
  const before = process.env[tallyVariable];
  if (before === undefined) return (await measureFaults()) + comparePrivileged();
  return values.mutants ? huntMutants() : compareRestricted(before);
}

// Every errno of the soft iommufd is an Error; their stacks cost more than the calls.
Error.stackTraceLimit = 0;
process.exitCode = (await run()) === 0 ? 0 : 1;
