// Maps and unmaps one page among many mappings of an address space: `map-unmap <count>`. The
// device worker sleeps, or is busy all the time.
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Iova } from '../../src/base/units.js';
import { GiB, MiB } from '../../src/base/units.js';
import { stateRunning, stateWord } from '../../src/iommu/soft/control.js';
import { createSoftIommu } from '../../src/iommu/soft/soft-iommu.js';
import type { DmaAccount } from '../../src/iommu/types.js';
import { systemClock } from '../../src/os/clock.js';
import { F_SEAL_SHRINK } from '../../src/os/memory-types.js';
import { sampleCalls } from '../interleave.js';
import { childProgram } from '../paths.js';
import { randomIntegers } from '../random.js';
import { memoryOs } from '../shared-memory.js';
import type { PollWorkerData } from './poll-worker.js';
import { serveSamples } from './sampling.js';

const pageBytes = 4096;
const mappingCount = Number(process.argv[2]);
/** One free page after this many mappings: where the measured pairs go. */
const holeEvery = 64;
const holeCount = Math.floor(mappingCount / (holeEvery - 1));

const object = memoryOs.create('lessor-bench-maps', 2 * MiB);
// As a lease's memory has to be.
memoryOs.addSeals(object, F_SEAL_SHRINK);
const iommu = createSoftIommu({
  arena: memoryOs.createArena(GiB),
  layout: { windowBytes: 2 * MiB },
  memory: memoryOs,
  clock: systemClock,
  pasidBits: 8,
  mapsMax: 2 * mappingCount,
});
const space = iommu.spaces.open({ pasid: 7 });
const account: DmaAccount = {
  placedBytesMax: GiB,
  tablePagesMax: 2 ** 20,
  placedBytes: 0,
  tablePages: 0,
};
const random = randomIntegers(mappingCount);

function map(page: number): ReturnType<typeof space.map> {
  const memory = { fd: object, offsetBytes: (page % 512) * pageBytes };
  return space.map(memory, (page * pageBytes) as Iova, pageBytes, 'read-write', account);
}

for (let page = 0, mapped = 0; mapped < mappingCount; page++) {
  if (page % holeEvery === 0) continue;
  await map(page);
  mapped += 1;
}

async function pairs(count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    await space.unmap(await map(random(holeCount) * holeEvery));
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
