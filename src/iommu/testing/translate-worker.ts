// A device worker for tests: translates a list of addresses for ever and reports what it saw.
import { workerData } from 'node:worker_threads';
import type { IommuHandles } from '../soft/control.js';
import { DeviceIommu } from '../soft/device-iommu.js';

/** Words of the report. */
export const reportPhase = 0;
export const reportRounds = 1;
export const reportHits = 2;
export const reportViolations = 3;
export const reportStop = 4;
export const reportWords = 8;

/** In this phase no translation may succeed. */
export const phaseForbidden = 2;

export interface TranslateWorkerData {
  readonly handles: IommuHandles;
  readonly report: SharedArrayBuffer;
  readonly pasid: number | undefined;
  readonly iovas: readonly number[];
  /** Sleeps between rounds, until woken or for a millisecond. */
  readonly isSleepy: boolean;
}

function run(data: TranslateWorkerData): void {
  const report = new Int32Array(data.report);
  const iommu = new DeviceIommu(data.handles);
  while (Atomics.load(report, reportStop) === 0) {
    iommu.poll();
    // Read before the walk: a success after it is one that the main thread was told cannot be.
    const isForbidden = Atomics.load(report, reportPhase) === phaseForbidden;
    for (const iova of data.iovas) {
      if (iommu.translate(data.pasid, iova, 'read') < 0) continue;
      Atomics.add(report, isForbidden ? reportViolations : reportHits, 1);
    }
    Atomics.add(report, reportRounds, 1);
    Atomics.notify(report, reportRounds);
    if (data.isSleepy) iommu.sleep(1);
  }
  iommu.park();
}

if (workerData !== null && 'handles' in (workerData as object)) {
  run(workerData as TranslateWorkerData);
}
