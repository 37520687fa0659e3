// In the virtual machine: EDU bound, examined and given back by the command line, against what the
// machine is known to have.
//   npm run vm -- --kernel stock -- node dist/test/real/doctor.js stock
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { isDeepStrictEqual } from 'node:util';
import type { Check, DoctorReport } from '../../src/doctor/check.js';
import { rootPath } from '../tools/root.js';
import { type KernelFlavour, kernelFlavours } from '../vm/kernel-recipe.js';

const edu = '0000:00:05.0';
const tell = (line: string): boolean => process.stdout.write(`${line}\n`);

type Values = Readonly<Record<string, Check['value']>>;

/** Of the machine, whichever kernel. */
const knownMachine: Values = {
  pidfd: true,
  iommu: true,
  'vfio-pci': true,
  iommufd: true,
  container: true,
  'interrupt-remapping': true,
  'kernel-log': true,
  'huge-pages': 0,
};

/** Of QEMU's device behind its Intel IOMMU: no PASIDs, no reset, one vector of MSI. */
function knownEdu(flavour: KernelFlavour): Values {
  const isPatched = flavour === 'patched';
  return {
    function: '1234:11e8',
    driver: 'vfio-pci',
    permissions: true,
    use: 'free',
    underside: 'iommufd',
    pasid: 0,
    dma: 48,
    interrupts: 1,
    'dma-buf-export': true,
    'dma-buf-map': isPatched,
    'dma-buf-revoke': isPatched,
    'dma-buf-memory': isPatched,
  };
}

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Its start takes seconds here: what can run beside others does. */
async function run(program: string, words: readonly string[]): Promise<Ended> {
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  const closed = once(child, 'close') as Promise<[number | null]>;
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [status] = await closed;
  return { status, stdout, stderr };
}

function lessor(...words: string[]): Promise<Ended> {
  return run(process.execPath, [rootPath('bin/lessor.js'), ...words]);
}

const complaints: string[] = [];

function expectEqual(what: string, found: unknown, wanted: unknown): void {
  if (isDeepStrictEqual(found, wanted)) return;
  complaints.push(`${what}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
}

function expectRefused(what: string, { status, stderr }: Ended, wanted: number, words: string) {
  expectEqual(`${what}: status`, status, wanted);
  if (!stderr.includes(words)) complaints.push(`${what}: ${stderr}, without ${words}`);
}

interface Examined {
  readonly status: number | null;
  readonly report: DoctorReport;
}

async function doctor(...words: string[]): Promise<Examined> {
  const { status, stdout, stderr } = await lessor('doctor', '--json', ...words);
  expectEqual('words of the doctor on stderr', stderr, '');
  return { status, report: JSON.parse(stdout) as DoctorReport };
}

function expectValues(what: string, checks: readonly Check[], known: Values): void {
  for (const [id, value] of Object.entries(known)) {
    expectEqual(`${what}, ${id}`, checks.find((check) => check.id === id)?.value, value);
  }
}

/** A function of the host: refused, and nothing about it changed. */
async function refusals(): Promise<void> {
  const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath];
  const [short, absent, busy, denied] = await Promise.all([
    lessor('bind', '05'),
    lessor('bind', '00:17.0'),
    lessor('bind', '00:02.0'),
    run('setpriv', [...nobody, rootPath('bin/lessor.js'), 'bind', edu]),
  ]);
  expectRefused('no address', short, 2, 'INVALID_ARGUMENT');
  expectRefused('no function', absent, 3, 'FUNCTION_GONE');
  expectRefused('a mounted folder', busy, 5, 'shared folder share is mounted');
  expectRefused('not root', denied, 4, 'DENIED');
}

/** Somebody has it open: told, and neither examined nor taken away. */
async function inUse(node: string): Promise<void> {
  const holder = spawn('sh', ['-c', `exec 7<>${node}; echo open; exec sleep 600`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data');
  const [{ status, report }, refused] = await Promise.all([doctor(edu), lessor('unbind', edu)]);
  const use = report.functions[0]?.checks.find(({ id }) => id === 'use');
  expectEqual('in use', [status, use?.value, use?.verdict], [0, 'in-use', 'warn']);
  expectRefused('unbind while open', refused, 5, `(pid ${holder.pid})`);
  holder.kill('SIGKILL');
  await once(holder, 'exit');
}

async function main(flavour: KernelFlavour): Promise<void> {
  const [before] = await Promise.all([doctor(edu), refusals()]);
  const driver = before.report.functions[0]?.checks.find(({ id }) => id === 'driver');
  expectEqual('unbound', [before.status, driver?.verdict], [1, 'fail']);
  expectValues('machine', before.report.machine, knownMachine);
  const linux = before.report.machine.find(({ id }) => id === 'linux')?.value;
  expectEqual('linux', linux, execFileSync('uname', ['-r'], { encoding: 'utf8' }).trim());
  const { stdout } = await lessor('bind', edu, '--json');
  const [bound] = (JSON.parse(stdout) as { functions: { node: string }[] }).functions;
  const after = await doctor();
  expectEqual(
    'functions',
    after.report.functions.map(({ address }) => address),
    [edu],
  );
  expectValues('EDU', after.report.functions[0]?.checks ?? [], knownEdu(flavour));
  expectEqual('bound', [after.status, after.report.ok], [0, true]);
  await inUse(bound?.node ?? '');
  const back = JSON.parse((await lessor('unbind', edu, '--json')).stdout) as unknown;
  expectEqual('unbind', back, { functions: [{ address: edu, driver: null, changed: true }] });
  for (const complaint of complaints) tell(`WRONG: ${complaint}`);
  tell(complaints.length === 0 ? `doctor: true of the ${flavour} kernel` : 'doctor: not true');
}

const flavour = kernelFlavours.find((each) => each === process.argv[2]);
if (flavour === undefined) throw new RangeError(`which kernel: ${kernelFlavours.join(' or ')}?`);
await main(flavour);
process.exitCode = complaints.length === 0 ? 0 : 1;
