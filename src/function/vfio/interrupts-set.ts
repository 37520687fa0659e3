// VFIO_DEVICE_SET_IRQS: what rings when a vector of the device fires.
import type { EventOs } from '../../os/event-types.js';
import {
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  vfioIrqSet,
} from '../../uapi/vfio.js';
import type { VfioDevice } from './types.js';

const s32Bytes = 4;
/** In place of an eventfd: none. */
export const noEventFd = -1;

interface IrqRange {
  readonly index: number;
  readonly start: number;
  readonly count: number;
}

function request(flags: number, range: IrqRange, data: readonly number[]): Uint8Array {
  const { sizeBytes } = vfioIrqSet;
  const argsz = sizeBytes + data.length * s32Bytes;
  const bytes = new Uint8Array(argsz);
  vfioIrqSet.encodeAt({ argsz, flags, ...range }, bytes, 0);
  const view = new DataView(bytes.buffer);
  for (const [at, value] of data.entries()) view.setInt32(sizeBytes + at * s32Bytes, value, true);
  return bytes;
}

function setIrqs(device: VfioDevice, bytes: Uint8Array): Promise<number> {
  return device.call('VFIO_DEVICE_SET_IRQS', VFIO_DEVICE_SET_IRQS, bytes);
}

/**
 * Has each vector from `start` on ring an eventfd, or nothing (`noEventFd`). What a vector rang
 * before is let go: the kernel waits until no handler of it runs.
 *
 * @param eventFds - Numbers; open until this has settled.
 * @returns 0; or, where this enables the vectors, how many the system could give instead: none
 *   is enabled then.
 * @throws OsError; the vectors named ring nothing then, unless the kernel had no memory to look
 * @see linux/vfio.h `struct vfio_irq_set`
 */
export function setTriggers(
  device: VfioDevice,
  index: number,
  start: number,
  eventFds: readonly number[],
): Promise<number> {
  const flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
  return setIrqs(device, request(flags, { index, start, count: eventFds.length }, eventFds));
}

/**
 * Takes every vector of the index away; waits until none of their handlers runs.
 *
 * @throws OsError
 */
export async function disableIrqs(device: VfioDevice, index: number): Promise<void> {
  const flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
  await setIrqs(device, request(flags, { index, start: 0, count: 0 }, []));
}

/**
 * Lets an automasked interrupt fire again, which it does at once when it is still asserted.
 *
 * @throws OsError
 */
export async function unmaskIrq(device: VfioDevice, index: number): Promise<void> {
  const flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK;
  await setIrqs(device, request(flags, { index, start: 0, count: 1 }, []));
}

/**
 * Calls back after an interrupt with one trigger fired, such as the device's error and request
 * interrupts, until disposed. Many in a row may be one call.
 *
 * @throws OsError
 */
export async function watchIrq(
  device: VfioDevice,
  events: EventOs,
  index: number,
  listener: () => void,
): Promise<AsyncDisposable> {
  const fd = events.createEventFd();
  let watch: Disposable | undefined;
  const stop = (): void => {
    watch?.[Symbol.dispose]();
    fd.close();
  };
  try {
    watch = events.watch(fd, () => {
      if (events.drain(fd) > 0n) listener();
    });
    await setTriggers(device, index, 0, [fd.number]);
  } catch (error) {
    stop();
    throw error;
  }
  return {
    async [Symbol.asyncDispose]() {
      try {
        await disableIrqs(device, index);
      } finally {
        stop();
      }
    },
  };
}
