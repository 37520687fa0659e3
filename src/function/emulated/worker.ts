// Entry of the worker thread that hosts a device. It knows client objects only as arena pages and
// eventfd numbers.
import { pathToFileURL } from 'node:url';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { assert, LessorError } from '../../base/errors.js';
import type { PciDevice } from '../../device/types.js';
import { DeviceIommu } from '../../iommu/soft/device-iommu.js';
import { systemClock } from '../../os/clock.js';
import { OsEvents } from '../../os/events.js';
import { createMemoryOs } from '../../os/memory.js';
import { loadNative } from '../../os/native.js';
import { openControlBlock, word, workerState } from './control-block.js';
import { DeviceLoop } from './device-loop.js';
import { MailboxServer } from './mailbox-server.js';
import { WorkerBus } from './worker-bus.js';
import { WorkerFrames } from './worker-frames.js';
import type { DeviceSource, StartOrder, WorkerMessage } from './worker-messages.js';

async function construct(source: DeviceSource): Promise<PciDevice> {
  const isPath = source.module.startsWith('/');
  const module = await import(isPath ? pathToFileURL(source.module).href : source.module);
  const factory: unknown = module[source.exportName];
  if (typeof factory !== 'function') {
    const detail = `${source.module} exports no function ${source.exportName}`;
    throw new LessorError('INVALID_ARGUMENT', detail);
  }
  return factory(source.options) as PciDevice;
}

/** Out of any promise chain, so that it ends the thread as an uncaught error. */
function crash(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}

async function run(device: PciDevice, order: StartOrder, port: MessagePort): Promise<void> {
  const native = loadNative();
  const control = openControlBlock(order.shared, order.shape);
  const { words } = control;
  const arena = createMemoryOs(native).openArena(order.arenaId);
  const u32 = new Uint32Array(arena.buffer);
  using signaller = new OsEvents(native).createSignaller();
  const notify = (): void => {
    Atomics.add(words, word.notice, 1);
    if (Atomics.load(words, word.mainSpins) === 0) Atomics.notify(words, word.notice);
  };
  // From here on main waits for acknowledgements.
  Atomics.store(words, word.state, workerState.running);
  const iommu = new DeviceIommu(order.iommu);
  const frames = new WorkerFrames(control, u32, order.places, order.pageBytes);
  const clock = systemClock;
  const invalidations = new Int32Array(order.iommu.control);
  const bus = new WorkerBus({
    control,
    arena,
    u32,
    frames,
    iommu,
    invalidations,
    signaller,
    clock,
    notify,
  });
  const mailbox = new MailboxServer(control, device, notify, crash);
  const { idleSpinMs } = order;
  device.attach(bus);
  const parts = { control, device, mailbox, bus, frames, iommu, arena, clock, idleSpinMs, notify };
  const loop = new DeviceLoop(parts);
  port.postMessage({ type: 'running' } satisfies WorkerMessage);
  await loop.run();
}

assert(parentPort, 'the device worker runs in a thread');
const port = parentPort;
const device = await construct(workerData as DeviceSource);
// A listener that stays: without one the thread would end while the device waits for a promise.
port.on('message', (order: StartOrder) => {
  run(device, order, port).then(() => port.close(), crash);
});
const { config, regions } = device;
port.postMessage({ type: 'described', description: { config, regions } } satisfies WorkerMessage);
