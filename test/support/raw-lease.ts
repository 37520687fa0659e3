// A lease in the hands of a client that keeps to no rules: its descriptor, and frames of any kind.
import { assert } from '../../src/base/errors.js';
import type { AcquireRequest } from '../../src/client/client.js';
import { systemClock } from '../../src/os/clock.js';
import type { Fd } from '../../src/os/fd.js';
import { createOs } from '../../src/os/index.js';
import { VarlinkClient } from '../../src/varlink/client.js';
import type { AcquireReply, LeaseRecord } from '../../src/varlink/interface.js';
import { connectVfioUser, type VfioUserClient } from '../../src/vfio-user/client.js';
import { RawPeer } from '../../src/vfio-user/testing/raw-peer.js';

export const os = createOs();

export interface RawLease extends Disposable {
  readonly record: LeaseRecord;
  readonly id: string;
  readonly fd: Fd;
  readonly control: VarlinkClient;
}

/** Takes a lease of this process without a byte on its descriptor. Disposing closes both. */
export async function takeRawLease(
  socketPath: string,
  request: Partial<AcquireRequest> = {},
): Promise<RawLease> {
  const control = new VarlinkClient(os.sockets.connect(socketPath), systemClock);
  const parameters = { memoryBytes: 1024 * 1024, ...request };
  const replies = control.callMore<AcquireReply>('io.lessor.Control.Acquire', parameters);
  const first = await replies.next();
  const fd = first?.fds[0];
  const record = first?.parameters.lease;
  assert(fd !== undefined && record !== undefined, 'a lease came with its descriptor');
  return {
    record,
    id: record.id,
    fd,
    control,
    [Symbol.dispose]() {
      fd.close();
      control[Symbol.dispose]();
    },
  };
}

/** The lease as a vfio-user device; the descriptor goes with it. */
export function deviceOf(lease: RawLease): Promise<VfioUserClient> {
  return connectVfioUser(os.sockets.stream(lease.fd.duplicate()), { clock: systemClock });
}

/** The lease as a negotiated stream of raw frames. */
export async function peerOf(lease: RawLease): Promise<RawPeer> {
  const peer = new RawPeer(os.sockets.stream(lease.fd.duplicate()));
  await peer.negotiate();
  return peer;
}
