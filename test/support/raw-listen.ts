// Listening leases asked for by hand, and the memory of the guests that have them.
import { assert } from '../../src/base/errors.js';
import type { Fd } from '../../src/os/fd.js';
import { VarlinkClient } from '../../src/varlink/client.js';
import type { AcquireReply } from '../../src/varlink/interface.js';
import { MiB, monitorOs } from './vm-monitor.js';

export const ramBytes = 16 * MiB;
/** Of a PC: what lies below and above the hole for the BIOS, in one memfd. */
export const ram = [
  { iova: 0, lengthBytes: 0xa_0000, at: 0 },
  { iova: 0xc_0000, lengthBytes: 0x2_0000, at: 0xc_0000 },
  { iova: 0x10_0000, lengthBytes: ramBytes - 0x10_0000, at: 0x10_0000 },
];

export interface RawListen {
  readonly id: string;
  close(): void;
}

/** Asks for a listening lease with whatever descriptor; ownership of it passes. */
export async function rawListen(
  socketPath: string,
  fd: Fd,
  request: object = {},
): Promise<RawListen> {
  const control = new VarlinkClient(monitorOs.sockets.connect(socketPath), monitorOs.clock);
  const parameters = { memoryBytes: ramBytes, listen: 0, ...request };
  const replies = control.callMore<AcquireReply>('io.lessor.Control.Acquire', parameters, {
    fds: [fd],
  });
  try {
    const first = await replies.next();
    assert(first?.fds.length === 0, 'no descriptor comes back');
    return {
      id: first?.parameters.lease?.id ?? '',
      close: () => control[Symbol.dispose](),
    };
  } catch (error) {
    control[Symbol.dispose]();
    throw error;
  }
}
