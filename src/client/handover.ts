// Handing a lease to another program: two descriptors and who they are, in the environment.
import { LessorError } from '../base/errors.js';
import type { Fd } from '../os/fd.js';
import type { Os } from '../os/os-types.js';
import { VarlinkClient } from '../varlink/client.js';
import type { AcquireReply, LeaseRecord } from '../varlink/interface.js';
import type { Handover } from './client.js';
import type { Lease } from './lease.js';
import { LeaseEvents } from './lease-events.js';
import { openLease } from './open-lease.js';

/** The first descriptor of the LISTEN_FDS convention. */
const firstPassedFd = 3;
const leaseName = 'lease';
const controlName = 'control';

/** The environment of a program that is given a lease. */
export function handoverEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  pid: number,
  handover: Pick<Handover, 'record' | 'control'>,
): Record<string, string> {
  const names = handover.control === undefined ? [leaseName] : [leaseName, controlName];
  const kept = Object.entries(environment).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  return {
    ...Object.fromEntries(kept),
    LISTEN_FDS: String(names.length),
    LISTEN_FDNAMES: names.join(':'),
    LISTEN_PID: String(pid),
    LESSOR_LEASE: JSON.stringify(handover.record),
  };
}

/** Turns this process into a program that holds the lease. */
export function execWithLease(
  os: Os,
  handover: Handover,
  path: string,
  argv: readonly string[],
): never {
  const fds = [handover.lease, ...(handover.control === undefined ? [] : [handover.control])];
  return os.processes.exec({
    path,
    argv,
    environment: handoverEnvironment(process.env, os.processes.pid, handover),
    fds,
  });
}

function passedFds(
  environment: Readonly<Record<string, string | undefined>>,
  pid: number,
): Map<string, number> {
  const count = Number(environment.LISTEN_FDS);
  if (!Number.isInteger(count) || count < 1 || Number(environment.LISTEN_PID) !== pid) {
    throw new LessorError('INVALID_ARGUMENT', 'no lease was passed to this process', {
      hint: 'start it with: lessor acquire -- command',
    });
  }
  const names = (environment.LISTEN_FDNAMES ?? '').split(':');
  return new Map(names.slice(0, count).map((name, index) => [name, firstPassedFd + index]));
}

function recordFrom(text: string): LeaseRecord {
  try {
    return JSON.parse(text) as LeaseRecord;
  } catch (error) {
    throw new LessorError('INVALID_ARGUMENT', 'LESSOR_LEASE is no JSON', { cause: error });
  }
}

/**
 * The lease that `lessor acquire -- command` passed to this process: negotiates, maps every
 * window, then enables. Call once: the descriptors and their names are taken.
 *
 * @throws LessorError `INVALID_ARGUMENT` when there is none.
 */
export async function leaseFromEnvironment(
  os: Os,
  adopt: (number: number) => Fd,
  environment: Record<string, string | undefined>,
  enable: boolean,
): Promise<Lease> {
  const passed = passedFds(environment, os.processes.pid);
  const leaseNumber = passed.get(leaseName);
  const text = environment.LESSOR_LEASE;
  if (leaseNumber === undefined || text === undefined) {
    throw new LessorError('INVALID_ARGUMENT', 'the descriptors passed hold no lease');
  }
  const record = recordFrom(text);
  for (const name of ['LISTEN_FDS', 'LISTEN_FDNAMES', 'LISTEN_PID', 'LESSOR_LEASE']) {
    delete environment[name];
  }
  const controlNumber = passed.get(controlName);
  let events: LeaseEvents | undefined;
  if (controlNumber !== undefined) {
    const connection = new VarlinkClient(os.sockets.stream(adopt(controlNumber)), os.clock);
    const replies = connection.resumeMore<AcquireReply>('io.lessor.Control.Acquire');
    events = new LeaseEvents(connection, replies);
  }
  return openLease(os, record, adopt(leaseNumber), events, enable);
}
