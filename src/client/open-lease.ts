// From a lease fd to a Lease: negotiate, map every window, then enable.
import type { Fd } from '../os/fd.js';
import type { Os } from '../os/os-types.js';
import type { StreamSocket } from '../os/socket-types.js';
import type { LeaseRecord } from '../varlink/interface.js';
import { connectVfioUser } from '../vfio-user/client.js';
import { Lease } from './lease.js';
import { openWindows } from './lease-device.js';
import type { LeaseEvents } from './lease-events.js';

/**
 * Opens a lease by its descriptor, or by the connection that it is.
 *
 * @param fd - Ownership passes, also when this rejects.
 * @param enable - Connect the windows and permit DMA. After that no new writable mapping of a
 *   window can be made, so every window is mapped before.
 */
export async function openLease(
  os: Os,
  record: LeaseRecord,
  fd: Fd | StreamSocket,
  events: LeaseEvents | undefined,
  enable: boolean,
): Promise<Lease> {
  let lease: Lease | undefined;
  try {
    const socket = 'release' in fd ? os.sockets.stream(fd) : fd;
    const device = await connectVfioUser(socket, { clock: os.clock });
    const windows = await openWindows(os.memory, device).catch((error: unknown) => {
      device.close();
      throw error;
    });
    lease = new Lease({ os, record, device, windows, events });
    if (enable) await lease.enable();
    return lease;
  } catch (error) {
    if (lease === undefined) events?.close();
    else await lease.close();
    throw error;
  }
}
