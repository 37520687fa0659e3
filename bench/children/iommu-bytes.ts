// What mappings of one page cost in memory: `iommu-bytes <count> <dense|scattered>`. Prints the
// bytes of table pages, of the JavaScript heap with its buffers, and of the process, for all.
// dense: one after the other. scattered: one in each of many equal parts of 2^46 bytes.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { nodeBytes } from '../../src/iommu/soft/node-pool.js';
import { randomIntegers } from '../random.js';
import { createOneSpace } from './one-space.js';

const warmUpCount = 2000;
const [countText = '', layout = ''] = process.argv.slice(2);
const count = Number(countText);
const random = randomIntegers(count);
const partPages = Math.floor(2 ** 34 / count);

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const { iommu, space, mapPage } = await createOneSpace('bytes', count);

function pageOf(index: number): number {
  return layout === 'dense' ? index : index * partPages + random(partPages);
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
for (let index = 0; index < warmUpCount; index++) await space.unmap(await mapPage(pageOf(0)));
const before = held();
for (let index = 0; index < count; index++) await mapPage(pageOf(index));
const after = held();
const costs = [
  after.tables - before.tables,
  after.heap - before.heap,
  after.process - before.process,
];
process.stdout.write(`${costs.join(' ')}\n`);
