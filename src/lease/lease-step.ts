// The lease state machine: what happens to a lease, and what has to be done about it.

import type { ErrorCode } from '../base/errors.js';
import { endedCodes } from './end-reason.js';
import type { Cell } from './rules.js';
import { leaseRules } from './rules.js';
import type { LeaseEvent, LeaseState, LeaseStep } from './types.js';

/** A request that waits for a slice. */
export function initialLease(): LeaseState {
  return { name: 'queued' };
}

/**
 * One step of a lease. The caller keeps `next` and carries out `effects` in their order.
 *
 * @returns `undefined` when the event is illegal here: a bug of the caller. Events that may well
 *   come late leave the state as it is and have no effects.
 */
export function leaseStep(state: LeaseState, event: LeaseEvent): LeaseStep | undefined {
  // The cell was chosen by the event's own type, which TypeScript cannot follow.
  const cell = leaseRules[state.name][event.type] as Cell;
  if (cell === 'illegal') return undefined;
  if (cell === 'ignored') return { next: state, effects: [] };
  return cell.step(state, event);
}

/** True while somebody may use the lease: granted, active or revoking. */
export function isLive(state: LeaseState): boolean {
  return state.name === 'granted' || state.name === 'active' || state.name === 'revoking';
}

/** True once nothing can happen to the lease any more. */
export function isOver(state: LeaseState): boolean {
  return state.name === 'ended' || state.name === 'refused';
}

/** True while a slice is out of use because of this lease, in quarantine as well. */
export function holdsSlice(state: LeaseState): boolean {
  return state.name !== 'queued' && !isOver(state);
}

/** What a holder may ask of its lease. */
export const leaseOperations = [
  'enable',
  'map',
  'unmap',
  'bindInterrupt',
  'unbindInterrupt',
  'access',
  'reset',
  'share',
  'renew',
  'derive',
  'release',
] as const;
export type LeaseOperation = (typeof leaseOperations)[number];

/** New claims, which a lease that winds down no longer gets. */
const claims: readonly LeaseOperation[] = [
  'enable',
  'map',
  'bindInterrupt',
  'share',
  'renew',
  'derive',
];
/** What needs connected windows. */
const ofWindows: readonly LeaseOperation[] = ['access', 'share'];

/** True when the holder may do this now. */
export function mayUse(state: LeaseState, operation: LeaseOperation): boolean {
  return useRefusal(state, operation) === undefined;
}

/**
 * Why the holder may not do this now: an error code, or `undefined` when it may.
 * `access` is register access by message, `share` lets the device of another lease reach the
 * windows; before `enable` no window is connected.
 */
export function useRefusal(state: LeaseState, operation: LeaseOperation): ErrorCode | undefined {
  switch (state.name) {
    case 'queued':
    case 'granting':
      return operation === 'release' ? undefined : 'LEASE_NOT_FOUND';
    case 'granted':
    case 'active':
    case 'revoking':
      if (ofWindows.includes(operation) && !state.enabled) return 'LEASE_NOT_ENABLED';
      return state.name === 'revoking' && claims.includes(operation) ? 'LEASE_REVOKING' : undefined;
    case 'reclaiming':
    case 'quarantined':
    case 'ended':
    case 'refused':
      return state.reason === undefined ? 'LEASE_ENDED' : endedCodes[state.reason.cause];
  }
}
