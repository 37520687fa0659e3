// What mappings of one page cost in memory: `iommu-bytes <count> <dense|scattered>`. Prints the
// bytes of table pages, of the JavaScript heap with its buffers, and of the process, for all.
// dense: one after the other. scattered: one in each of many equal parts of 2^46 bytes.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Iova } from '../../src/base/units.js';
import { GiB, MiB } from '../../src/base/units.js';
import { nodeBytes } from '../../src/iommu/soft/node-pool.js';
import { createSoftIommu } from '../../src/iommu/soft/soft-iommu.js';
import type { DmaAccount } from '../../src/iommu/types.js';
import { systemClock } from '../../src/os/clock.js';
import { F_SEAL_SHRINK } from '../../src/os/memory-types.js';
import { randomIntegers } from '../random.js';
import { memoryOs } from '../shared-memory.js';

const pageBytes = 4096;
const warmUpCount = 2000;
const [countText = '', layout = ''] = process.argv.slice(2);
const count = Number(countText);
const random = randomIntegers(count);
const partPages = Math.floor(2 ** 34 / count);

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const object = memoryOs.create('lessor-bench-bytes', 2 * MiB);
// As a lease's memory has to be.
memoryOs.addSeals(object, F_SEAL_SHRINK);
const iommu = createSoftIommu({
  arena: memoryOs.createArena(GiB),
  layout: { windowBytes: 2 * MiB },
  memory: memoryOs,
  clock: systemClock,
  pasidBits: 8,
  mapsMax: count,
});
const space = iommu.spaces.open({ pasid: 7 });
const account: DmaAccount = {
  placedBytesMax: GiB,
  tablePagesMax: 2 ** 20,
  placedBytes: 0,
  tablePages: 0,
};

function pageOf(index: number): number {
  return layout === 'dense' ? index : index * partPages + random(partPages);
}

async function map(index: number): ReturnType<typeof space.map> {
  const memory = { fd: object, offsetBytes: (index % 512) * pageBytes };
  const iova = (pageOf(index) * pageBytes) as Iova;
  return space.map(memory, iova, pageBytes, 'read-write', account);
}

interface Held {
  readonly tables: number;
  readonly heap: number;
  readonly process: number;
}

function held(): Held {
  collect();
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
  return { tables: iommu.tablePages * nodeBytes, heap: heapUsed + arrayBuffers, process: rss };
}

// Compiled code and what is made once do not count.
for (let index = 0; index < warmUpCount; index++) await space.unmap(await map(0));
const before = held();
for (let index = 0; index < count; index++) await map(index);
const after = held();
const costs = [
  after.tables - before.tables,
  after.heap - before.heap,
  after.process - before.process,
];
process.stdout.write(`${costs.join(' ')}\n`);
