// A reset of a function: its own, else that of its whole bus when everybody on it is ours.
import type { Clock } from '../../base/clock.js';
import { isOsError, LessorError } from '../../base/errors.js';
import type { Fd } from '../../os/fd.js';
import * as uapi from '../../uapi/vfio.js';
import type { VfioDevice } from './types.js';

/** Somebody in the kernel has hold of the device: it passes, or the device is leaving. */
const busyPauseMs = 20;
/** VFIO_DEVICE_RESET reads nothing of its argument. */
const unusedBytes = 8;

/**
 * Resets a function. It may take seconds, and cannot be taken back.
 *
 * @param groupFd - The group that the device was opened by, if it was.
 * @param signal - Ends the wait for a device that somebody has hold of.
 * @throws LessorError `UNSUPPORTED` when the function has no reset that hits it alone; OsError
 * @see linux/vfio.h `VFIO_DEVICE_RESET`, `VFIO_DEVICE_PCI_HOT_RESET`
 */
export async function resetDevice(
  device: VfioDevice,
  groupFd: Fd | undefined,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    try {
      if (device.canReset) {
        await device.call('VFIO_DEVICE_RESET', uapi.VFIO_DEVICE_RESET, new Uint8Array(unusedBytes));
      } else await resetBus(device, groupFd);
      return;
    } catch (error) {
      const isBusy = isOsError(error, 'EAGAIN') || isOsError(error, 'EBUSY');
      if (!isBusy || signal.aborted) throw error;
      await new Promise<void>((resolve) => clock.after(busyPauseMs, resolve));
    }
  }
}

/** With its character device the kernel finds out itself whose the others on the bus are. */
async function resetBus(device: VfioDevice, groupFd: Fd | undefined): Promise<void> {
  const name = 'VFIO_DEVICE_PCI_HOT_RESET';
  const headBytes = uapi.vfioPciHotReset.sizeBytes;
  const groups = groupFd === undefined ? [] : [groupFd.number];
  const argsz = headBytes + 4 * groups.length;
  const bytes = new Uint8Array(argsz);
  uapi.vfioPciHotReset.encodeAt({ argsz, flags: 0, count: groups.length }, bytes, 0);
  const view = new DataView(bytes.buffer);
  for (const [at, number] of groups.entries()) view.setInt32(headBytes + 4 * at, number, true);
  try {
    await device.call(name, uapi.VFIO_DEVICE_PCI_HOT_RESET, bytes);
  } catch (cause) {
    const has = (...errnos: readonly string[]): boolean =>
      isOsError(cause) && errnos.includes(cause.errno);
    if (!has('ENODEV', 'EINVAL', 'ENOTTY')) throw cause;
    const why = has('EINVAL')
      ? 'functions that are not of this broker are on its bus'
      : 'neither has its bus one';
    const detail = `${device.address} has no reset of its own, and ${why}`;
    throw new LessorError('UNSUPPORTED', detail, {
      cause,
      hint: 'a function without a reset serves leases until one of them needs it',
    });
  }
}
