// lessor/client: hold leases of a function that a broker owns.
import { AdminClient } from './admin.js';
import type { AcquireRequest, ListenRequest } from './client.js';
import { Client } from './client.js';
import type { Lease } from './lease.js';
import type { ListeningLease } from './listening-lease.js';
import { adminPathOf, findControlSocket } from './run-directory.js';
import { sharedOs } from './shared-os.js';

export { isLessorError, LessorError } from '../base/errors.js';
export type { Fd } from '../os/fd.js';
export type { EventRecord, FaultRecord, InfoReply, LeaseRecord } from '../varlink/interface.js';
export { AdminClient, type Inspection } from './admin.js';
export { adoptFd } from './adopt-fd.js';
export {
  type AcquireRequest,
  Client,
  type Handover,
  type ListenRequest,
  type Monitor,
} from './client.js';
export { fromEnvironment } from './from-environment.js';
export type { LeaseInterrupt } from './interrupt.js';
export {
  type ExportedWindow,
  type ForeignMemory,
  Lease,
  type LeaseEnd,
  type LeaseEventMap,
  type LeaseMapping,
} from './lease.js';
export type { LeaseMemory } from './lease-memory.js';
export {
  ListeningLease,
  type ListeningLeaseEventMap,
  type ListenPlace,
} from './listening-lease.js';
export type { LeaseWindow, MappedWindow, MessageWindow } from './window.js';

export interface ConnectOptions {
  /** Default: $LESSOR_SOCKET, else the only broker found under the run directories. */
  readonly socket?: string;
}

function controlSocket(options: ConnectOptions): string {
  return findControlSocket(options.socket, process.env, sharedOs().processes.uid);
}

/**
 * Connects to a broker.
 *
 * @throws LessorError `BROKER_NOT_FOUND`, `BROKER_AMBIGUOUS`, `DENIED`
 */
export async function connect(options: ConnectOptions = {}): Promise<Client> {
  return new Client(sharedOs(), controlSocket(options));
}

/** Connects to a broker and takes a lease for a VM monitor; both end with the lease. */
export async function acquire(request: ListenRequest & ConnectOptions): Promise<ListeningLease>;
/** Connects to a broker and takes a lease; both end with the lease. */
export async function acquire(request: AcquireRequest & ConnectOptions): Promise<Lease>;
export async function acquire(
  request: (AcquireRequest | ListenRequest) & ConnectOptions,
): Promise<Lease | ListeningLease> {
  const { socket, ...rest } = request;
  const client = await connect(socket === undefined ? {} : { socket });
  try {
    return await client.acquire(rest);
  } finally {
    client.close();
  }
}

/** Connects to the admin socket of a broker; `socket` names that one, not the control socket. */
export async function connectAdmin(options: ConnectOptions = {}): Promise<AdminClient> {
  return new AdminClient(sharedOs(), options.socket ?? adminPathOf(controlSocket({})));
}
