// The thread that makes the ioctls of a kernel IOMMU: pinning gigabytes would stall the main one.
// It owns no descriptor: when it dies, the main thread closes them all.
import { parentPort, workerData } from 'node:worker_threads';
import { Fd } from '../../os/fd.js';
import { createIoctlOs } from '../../os/ioctl.js';
import { createMemoryOs } from '../../os/memory.js';
import { loadNative } from '../../os/native.js';
import type { IommuDevice, SpaceCalls } from '../iommufd.js';
import type { MapFileRequest } from '../requests.js';
import { KernelIommufd } from './kernel-iommufd.js';
import { mapRefusal } from './map-refusal.js';
import { SpaceServer } from './space-server.js';
import { Type1Iommu } from './type1-iommu.js';
import {
  type RequestMessage,
  toWords,
  type WorkerData,
  type WorkerMessage,
} from './worker-messages.js';

const native = loadNative();
const port = parentPort!;

/** Says why it refused a map, where the kernel's errno does not. */
class JudgingIommufd extends KernelIommufd {
  override ioasMapFile(request: MapFileRequest): bigint {
    try {
      return super.ioasMapFile(request);
    } catch (error) {
      throw mapRefusal(createMemoryOs(native), request, error);
    }
  }
}

function borrow(descriptor: number): Fd {
  return new Fd({ close: () => 0, duplicate: native.duplicate }, descriptor);
}

function post(message: WorkerMessage): void {
  port.postMessage(message);
}

function bind(data: WorkerData): { readonly iommufd: SpaceCalls; readonly device: IommuDevice } {
  const os = createIoctlOs(native);
  if ('container' in data) {
    const containerFd = borrow(data.container);
    const iommufd = new Type1Iommu({ os, memory: createMemoryOs(native), containerFd });
    return { iommufd, device: iommufd.device };
  }
  const iommufd = new JudgingIommufd(os, borrow(data.iommufd));
  return { iommufd, device: iommufd.bindDevice(borrow(data.device)) };
}

function serve(data: WorkerData): void {
  const { iommufd, device } = bind(data);
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
