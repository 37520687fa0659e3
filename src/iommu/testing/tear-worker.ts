// A device worker for tests: writes to one address for ever, and counts translations that pair one
// mapping's page with another's permission.
import { workerData } from 'node:worker_threads';
import type { IommuHandles } from '../soft/control.js';
import { DeviceIommu } from '../soft/device-iommu.js';

export const tearRounds = 0;
export const tearWrites = 1;
export const tearViolations = 2;
export const tearStop = 3;
export const tearWords = 4;

export interface TearWorkerData {
  readonly handles: IommuHandles;
  readonly report: SharedArrayBuffer;
  readonly iova: number;
  /** The only arena offset that a write may reach. */
  readonly writableOffset: number;
}

function run({ handles, report, iova, writableOffset }: TearWorkerData): void {
  const words = new Int32Array(report);
  const iommu = new DeviceIommu(handles);
  while (Atomics.load(words, tearStop) === 0) {
    let writes = 0;
    for (let count = 0; count < 1000; count++) {
      const offset = iommu.translate(undefined, iova, 'write');
      if (offset === writableOffset) writes += 1;
      else if (offset >= 0) Atomics.add(words, tearViolations, 1);
    }
    Atomics.add(words, tearWrites, writes);
    Atomics.add(words, tearRounds, 1);
    iommu.poll();
  }
  iommu.park();
}

if (workerData !== null && 'writableOffset' in (workerData as object)) {
  run(workerData as TearWorkerData);
}
