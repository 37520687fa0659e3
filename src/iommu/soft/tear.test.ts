import { Worker } from 'node:worker_threads';
import { afterEach, expect, test } from 'vitest';
import {
  type TearWorkerData,
  tearRounds,
  tearStop,
  tearViolations,
  tearWords,
  tearWrites,
} from '../testing/tear-worker.js';
import { createControl } from './control.js';
import { entryRead, entryWrite, largeBytes, pageBytes } from './entry.js';
import { NodePool } from './node-pool.js';
import { PageTable } from './page-table.js';
import { PasidTable, plainSlot } from './pasid-table.js';

const report = new Int32Array(new SharedArrayBuffer(tearWords * 4));
let worker: Worker | undefined;

afterEach(async () => {
  Atomics.store(report, tearStop, 1);
  await worker?.terminate();
});

async function until(isDone: () => boolean): Promise<void> {
  while (!isDone()) await new Promise((resolve) => setImmediate(resolve));
}

test('a walker never pairs the page of one mapping with the permission of another', async () => {
  const pool = new NodePool(2 ** 27);
  const table = new PageTable(pool);
  const pasids = new PasidTable(0);
  pasids.set(plainSlot, table.root);
  const iova = 5 * largeBytes;
  const data: TearWorkerData = {
    handles: { tables: pool.shared, pasids: pasids.shared, control: createControl() },
    report: report.buffer as SharedArrayBuffer,
    iova,
    writableOffset: 512 * pageBytes,
  };
  // A neighbour keeps the lowest node, so that entries are replaced and not only nodes.
  table.map(iova + pageBytes, pageBytes, 9, entryRead, undefined);
  worker = new Worker(new URL('../testing/tear-worker.js', import.meta.url), { workerData: data });
  await until(() => Atomics.load(report, tearRounds) > 0);
  // Nobody acknowledges here: the replacement must be safe by itself.
  for (let turn = 0; turn < 400; turn++) {
    for (let count = 0; count < 250; count++) {
      table.map(iova, pageBytes, 512, entryRead | entryWrite, undefined);
      table.unmap(iova, pageBytes);
      table.map(iova, pageBytes, 77, entryRead, undefined);
      table.unmap(iova, pageBytes);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  table.unmap(iova + pageBytes, pageBytes);
  // A table in place of a large leaf: the leaf's page is no node, and the node no page.
  for (let turn = 0; turn < 2000; turn++) {
    table.map(iova, largeBytes, 512, entryRead | entryWrite, undefined);
    table.unmap(iova, largeBytes);
    table.map(iova, pageBytes, 78, entryRead, undefined);
    table.unmap(iova, pageBytes);
  }
  table.map(iova, pageBytes, 512, entryRead | entryWrite, undefined);
  const writes = Atomics.load(report, tearWrites);
  const rounds = Atomics.load(report, tearRounds);
  await until(() => Atomics.load(report, tearRounds) > rounds + 2);
  expect(Atomics.load(report, tearWrites)).toBeGreaterThan(writes);
  expect(Atomics.load(report, tearViolations)).toBe(0);
});
