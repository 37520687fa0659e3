// Runs inside of the virtual machine: compares, reports, and ends with status 1 when something is
// wrong.
import { parseArgs } from 'node:util';
import type { UnitTraits } from '../../src/iommu/soft/traits.js';
import { createOs } from '../../src/os/index.js';
import { loadNative } from '../../src/os/native.js';
import type { World } from './command.js';
import { type Finding, runDifferential, runEdges } from './differential.js';
import { privilegedEdges } from './edges/accounting.js';
import { bindEdu } from './edu-device.js';
import { readEduTraits } from './edu-traits.js';
import { runFaultMatrix } from './fault-matrix/run.js';
import { KernelSide } from './kernel-side.js';
import { WorldMemory } from './memory.js';
import { openFiles } from './open-files.js';
import { deviceProfile, mockProfile } from './profiles.js';
import { runRestricted } from './restricted.js';
import { runContract } from './run-contract.js';
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
    device: { type: 'boolean', default: false },
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
  const os = createOs();
  const memory = new WorldMemory(os);
  const { files, descriptors } = openFiles(memory);
  const parts = createSoftParts();
  let traits: UnitTraits | undefined;
  const deviceTraits = (): UnitTraits => (traits ??= readEduTraits(os, bindEdu()));
  return {
    world: { memory, files },
    sides: {
      open: () => [
        new KernelSide(native, memory, bindEdu),
        new SoftSide({ parts, memory, descriptors, deviceTraits }),
      ],
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
  const isMocksOnly = values.path !== undefined && !values.device;
  const profiles = [
    ...(values.device ? [] : [mockProfile]),
    ...(isMocksOnly ? [] : [deviceProfile]),
  ];
  const findings = runDifferential({
    ...createBench(),
    profiles: profiles.map((profile) => ({
      ...profile,
      commands: profile.commands.filter(({ name }) => only === undefined || only.test(name)),
    })),
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
    !values.device &&
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

/** Whether this run is about less than everything. */
const isPart =
  [values.mutants, values['random-only'], values.device].includes(true) ||
  [values.path, values.commands].some((each) => each !== undefined);

/** @returns How much is wrong. */
async function runWhole(): Promise<number> {
  const contract = runContract();
  if (!contract.isMet) say('the contract of every iommufd is not met by the kernel:');
  process.stdout.write(contract.text);
  const { failures } = await runFaultMatrix(say);
  return failures.length + (contract.isMet ? 0 : 1);
}

async function run(): Promise<number> {
  const before = process.env[tallyVariable];
  if (before === undefined) return (isPart ? 0 : await runWhole()) + comparePrivileged();
  return values.mutants ? huntMutants() : compareRestricted(before);
}

// Every errno of the soft iommufd is an Error; their stacks cost more than the calls.
Error.stackTraceLimit = 0;
process.exitCode = (await run()) === 0 ? 0 : 1;
