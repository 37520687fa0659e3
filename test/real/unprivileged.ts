// In the virtual machine: a broker of a user without privileges has EDU once the nodes are given to
// that user, and its clients map as much memory as the user may lock.
//   npm run vm -- node dist/test/real/unprivileged.js
import { chownSync, renameSync } from 'node:fs';
import { isOsError } from '../../src/base/errors.js';
import { MiB } from '../../src/base/units.js';
import { connect } from '../../src/client/index.js';
import type { Lease } from '../../src/client/lease.js';
import { readIommuGroup } from '../../src/function/vfio/group-members.js';
import { bindEdu, eduAddress } from '../kernel/edu-device.js';
import { Bench, lessorPath } from '../support/lessor.js';
import { check, checkEqual } from './check.js';
import { eduWorkshop } from './client/edu-work.js';

const nobody = 65534;
const lockedBytesMax = MiB;
const rounds = 3;
const program = [
  ...['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups'],
  ...['prlimit', `--memlock=${lockedBytesMax}:${lockedBytesMax}`],
  ...[process.execPath, lessorPath],
];
const words = ['serve', '--json', '--function', eduAddress, '--driver', 'edu', '--patience', '10'];

async function refusesWithoutNodes(): Promise<void> {
  const bench = new Bench();
  chownSync(bench.directory, nobody, nobody);
  const { status, stderr } = await bench.run(words, { program });
  await bench.clear();
  checkEqual(status, 4, `status without the nodes, after ${stderr}`);
  check(stderr.includes('DENIED') && stderr.includes('udev rule'), `no remedy in ${stderr}`);
}

async function errnoOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'ok';
  } catch (error) {
    return isOsError(error) ? error.errno : String(error);
  }
}

/** What the user may lock can be mapped and used; what is more is refused, and harms nothing. */
async function works(lease: Lease): Promise<void> {
  const data = await lease.memory.allocate(eduWorkshop.dataBytes);
  const work = await eduWorkshop.open(lease, data);
  const tooMuch = await errnoOf(lease.memory.allocate(2 * lockedBytesMax));
  checkEqual(tooMuch, 'ENOSPC', 'memory over RLIMIT_MEMLOCK');
  for (let round = 0; round < rounds; round += 1) {
    checkEqual(await work.round(round), 'ok', `round ${round}`);
  }
  checkEqual(await errnoOf(lease.memory.allocate(lockedBytesMax / 4)), 'ok', 'less memory');
}

async function serves(nodes: readonly string[]): Promise<string> {
  for (const node of nodes) chownSync(node, nobody, nobody);
  const bench = new Bench();
  chownSync(bench.directory, nobody, nobody);
  try {
    const socket = `${bench.directory}/edu.sock`;
    const broker = bench.start(['--socket', socket, ...words], { program });
    await broker.saying(/\n/);
    const client = await connect({ socket });
    const lease = await client.acquire({ kind: 'edu', memoryBytes: 4 * lockedBytesMax });
    const { isolation, revocation } = lease.record;
    await works(lease);
    await lease.close();
    client.close();
    const { status, stderr } = await broker.stop();
    checkEqual(status, 0, `status of the broker, after ${stderr}`);
    return `${isolation}/${revocation}`;
  } finally {
    await bench.clear();
  }
}

/** As on a kernel without iommufd. */
async function servesByGroup(): Promise<string> {
  const hidden = '/dev/iommu.hidden';
  renameSync('/dev/iommu', hidden);
  try {
    return await serves([`/dev/vfio/${readIommuGroup(eduAddress).number}`, '/dev/vfio/vfio']);
  } finally {
    renameSync(hidden, '/dev/iommu');
  }
}

const node = bindEdu();
await refusesWithoutNodes();
const labels = `${await serves([node, '/dev/iommu'])}, by its group ${await servesByGroup()}`;
process.stdout.write(`uid ${nobody} had EDU as ${labels}\n`);
