// Who may use an admin method, and who may renew or release a lease.
import { isAdmitted } from './decide.js';
import type { Denial } from './types.js';

/** The broker's uid and root operate the broker. Undefined: allowed. */
export function adminDenial(uid: number, brokerUid: number): Denial | undefined {
  if (isAdmitted(uid, brokerUid)) return undefined;
  return {
    deny: true,
    code: 'DENIED',
    detail: `uid ${uid} is neither that of the broker (${brokerUid}) nor root`,
  };
}

export interface ManageFacts {
  readonly uid: number;
  /** The peer is the very process that acquired the lease, by pidfd. */
  readonly isAcquirer: boolean;
  /** The request came over the admin socket. */
  readonly isAdmin: boolean;
}

/**
 * Renew and Release are for the process that acquired the lease, root, and the operator over the
 * admin socket. Knowing the id of a lease grants nothing. Undefined: allowed.
 */
export function manageDenial({ uid, isAcquirer, isAdmin }: ManageFacts): Denial | undefined {
  if (isAcquirer || isAdmin || uid === 0) return undefined;
  return { deny: true, code: 'DENIED', detail: 'another process acquired this lease' };
}
