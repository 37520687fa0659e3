// The thread that makes the ioctls of a kernel IOMMU: pinning gigabytes would stall the main one.
// It owns no descriptor: when it dies, the main thread closes them all.
import { parentPort, workerData } from 'node:worker_threads';
import { Fd } from '../../os/fd.js';
import { createIoctlOs } from '../../os/ioctl.js';
import { loadNative } from '../../os/native.js';
import { KernelIommufd } from './kernel-iommufd.js';
import { SpaceServer } from './space-server.js';
import {
  type RequestMessage,
  toWords,
  type WorkerData,
  type WorkerMessage,
} from './worker-messages.js';

const native = loadNative();
const port = parentPort!;

function borrow(descriptor: number): Fd {
  return new Fd({ close: () => 0, duplicate: native.duplicate }, descriptor);
}

function post(message: WorkerMessage): void {
  port.postMessage(message);
}

function serve(data: WorkerData): void {
  const iommufd = new KernelIommufd(createIoctlOs(native), borrow(data.iommufd));
  const device = iommufd.bindDevice(borrow(data.device));
  const server = new SpaceServer({ iommufd, device, borrow, post });
  port.on('message', (message: RequestMessage) => server.take(message));
  const { pasidBits, pageBytes, aperture } = device;
  post({ type: 'bound', facts: { pasidBits, pageBytes, aperture } });
}

try {
  serve(workerData as WorkerData);
} catch (error) {
  post({ type: 'refused', error: toWords(error) });
  port.close();
}
