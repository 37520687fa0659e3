// A device worker that is always busy: copies 4 KiB, acknowledges invalidations, and so on, as the
// emulated device does between chunks of its work.
import { workerData } from 'node:worker_threads';
import type { IommuHandles } from '../../src/iommu/soft/control.js';
import { DeviceIommu } from '../../src/iommu/soft/device-iommu.js';

export interface PollWorkerData {
  readonly handles: IommuHandles;
  /** Word 0: non-zero ends it. */
  readonly stop: SharedArrayBuffer;
}

const chunkBytes = 4096;
const { handles, stop } = workerData as PollWorkerData;
const stopWord = new Int32Array(stop);
const bytes = new Uint8Array(2 * chunkBytes);
const iommu = new DeviceIommu(handles);
while (Atomics.load(stopWord, 0) === 0) {
  bytes.copyWithin(chunkBytes, 0, chunkBytes);
  iommu.poll();
}
iommu.park();
