// Maps and unmaps one page among many mappings of an address space: `map-unmap <count>`. The
// device worker sleeps, or is busy all the time.
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { stateRunning, stateWord } from '../../src/iommu/soft/control.js';
import { sampleCalls } from '../interleave.js';
import { childProgram } from '../paths.js';
import { randomIntegers } from '../random.js';
import { createOneSpace } from './one-space.js';
import type { PollWorkerData } from './poll-worker.js';
import { serveSamples } from './sampling.js';

const mappingCount = Number(process.argv[2]);
/** One free page after this many mappings: where the measured pairs go. */
const holeEvery = 64;
const holeCount = Math.floor(mappingCount / (holeEvery - 1));

const { iommu, space, mapPage } = await createOneSpace('maps', 2 * mappingCount);
const random = randomIntegers(mappingCount);

for (let page = 0, mapped = 0; mapped < mappingCount; page++) {
  if (page % holeEvery === 0) continue;
  await mapPage(page);
  mapped += 1;
}

async function pairs(count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    await space.unmap(await mapPage(random(holeCount) * holeEvery));
  }
}

async function samplePairs(sampleCount: number, batch: number): Promise<number[]> {
  const samples = await sampleCalls(sampleCount, () => pairs(batch));
  return samples.map((ns) => ns / batch);
}

async function whileRunning(sampleCount: number, batch: number): Promise<number[]> {
  const stop = new SharedArrayBuffer(4);
  const workerData: PollWorkerData = { handles: iommu.handles, stop };
  const worker = new Worker(childProgram('poll-worker'), { workerData });
  await once(worker, 'online');
  try {
    // It publishes running long after it is online, by the time that pairs take.
    const state = new Int32Array(iommu.handles.control);
    while (Atomics.load(state, stateWord) !== stateRunning) await nextTurn();
    await sampleCalls(200, () => pairs(batch));
    return await samplePairs(sampleCount, batch);
  } finally {
    const exited = once(worker, 'exit');
    Atomics.store(new Int32Array(stop), 0, 1);
    await exited;
  }
}

await serveSamples({ asleep: samplePairs, running: whileRunning });
