// Translates random addresses of an address space with many mappings: `translate <count> <layout>`.
// dense: mappings of 1 to 16 pages, one after the other. scattered: one page each, over 2^46 bytes.
import { assert } from '../../src/base/errors.js';
import { createControl } from '../../src/iommu/soft/control.js';
import { DeviceIommu } from '../../src/iommu/soft/device-iommu.js';
import { entryRead, entryWrite } from '../../src/iommu/soft/entry.js';
import { NodePool } from '../../src/iommu/soft/node-pool.js';
import { PageTable } from '../../src/iommu/soft/page-table.js';
import { PasidTable } from '../../src/iommu/soft/pasid-table.js';
import { sampleBatches } from '../interleave.js';
import { randomIntegers } from '../random.js';
import { memoryOs } from '../shared-memory.js';
import { serveSamples } from './sampling.js';

const pasid = 7;
const pageBytes = 4096;
const addressCount = 2 ** 20;
const arenaPages = 2 ** 20;

const [countText = '', layout = ''] = process.argv.slice(2);
const mappingCount = Number(countText);
const random = randomIntegers(mappingCount);

const pool = new NodePool(2 ** 31, memoryOs.adviseHugePages);
const table = new PageTable(pool);
const pasids = new PasidTable(8);
pasids.set(pasid, table.root);
const starts = new Float64Array(mappingCount);
const pageCounts = new Uint8Array(mappingCount);

function fillDense(): void {
  let iova = 0x1000_0000;
  for (let index = 0; index < mappingCount; index++) {
    const pages = 1 + random(16);
    starts[index] = iova;
    pageCounts[index] = pages;
    table.map(iova, pages * pageBytes, random(arenaPages), entryRead | entryWrite, undefined);
    iova += pages * pageBytes;
  }
}

function fillScattered(): void {
  // One mapping at a random page of each of many equal parts.
  const partPages = Math.floor(2 ** 34 / mappingCount);
  for (let index = 0; index < mappingCount; index++) {
    const iova = (index * partPages + random(partPages)) * pageBytes;
    starts[index] = iova;
    pageCounts[index] = 1;
    table.map(iova, pageBytes, random(arenaPages), entryRead | entryWrite, undefined);
  }
}

if (layout === 'dense') fillDense();
else fillScattered();

const addresses = Float64Array.from({ length: addressCount }, () => {
  const index = random(mappingCount);
  return starts[index]! + random(pageCounts[index]! * pageBytes);
});
const iommu = new DeviceIommu({
  tables: pool.shared,
  pasids: pasids.shared,
  control: createControl(),
});
let next = 0;

function translate(count: number): void {
  let refused = 0;
  // A local, as the walk is what is measured and not the loop around it.
  let at = next;
  for (let index = 0; index < count; index++) {
    if (iommu.translate(pasid, addresses[at]!, 'read') < 0) refused += 1;
    at = (at + 1) & (addressCount - 1);
  }
  next = at;
  assert(refused === 0, `${refused} translations were refused`);
}

await serveSamples({
  translate: (sampleCount, batch) => sampleBatches(sampleCount, batch, translate),
});
