// Words of the lease state machine. Pure: no clock, no I/O.
import type { ErrorCode } from '../base/errors.js';

export const leaseStates = [
  'queued',
  'granting',
  'granted',
  'active',
  'revoking',
  'reclaiming',
  'quarantined',
  'ended',
  'refused',
] as const;
export type LeaseStateName = (typeof leaseStates)[number];

/** The reclaim phases, in their order. */
export const reclaimPhases = [
  'fence',
  'detach',
  'zap',
  'quiesce',
  'disarm',
  'ungrant',
  'unmap',
] as const;
export type ReclaimPhase = (typeof reclaimPhases)[number];

/** Why a lease ended. */
export interface EndReason {
  readonly cause:
    | 'released'
    | 'holder died'
    | 'expired'
    | 'denied'
    | 'revoked'
    | 'function reset'
    | 'function gone'
    | 'broker stop'
    | 'broken';
  /** For people: "operator: demo". */
  readonly detail: string;
}

export type LeaseEvent =
  /** A slice was chosen. */
  | { readonly type: 'grant' }
  /** The answer to `startGrant`. */
  | { readonly type: 'granted' }
  /** The other answer to `startGrant`; whatever was made in part is reclaimed. */
  | { readonly type: 'grantFailed'; readonly detail: string; readonly code?: ErrorCode }
  /** The first 0 to 1 of Memory Space Enable. */
  | { readonly type: 'enable' }
  | { readonly type: 'release' }
  | { readonly type: 'holderGone' }
  /** The TTL is over; for a queued request, the time it was willing to wait. */
  | { readonly type: 'expire' }
  /** Policy no longer allows it. */
  | { readonly type: 'deny'; readonly detail: string }
  /** It cannot go on: window sealed or truncated, memory gone, slice unhealthy. */
  | { readonly type: 'broken'; readonly detail: string }
  | { readonly type: 'revoke'; readonly detail: string; readonly graceMs: number }
  | { readonly type: 'graceOver' }
  /** The function is about to be reset. */
  | { readonly type: 'functionReset' }
  | { readonly type: 'functionGone' }
  | { readonly type: 'brokerStop' }
  /** `idle` counts for quiesce alone, and only when it was observed after the cut. */
  | { readonly type: 'phaseDone'; readonly phase: ReclaimPhase; readonly idle?: boolean }
  | { readonly type: 'phaseTimeout'; readonly phase: ReclaimPhase }
  /**
   * An operator or a function reset vouches for the slice, and its driver took PASID or bounds
   * back since (`Slice.ungrant`, or `RunningDriver.restart`).
   */
  | { readonly type: 'quarantineReleased' };

export type LeaseEventType = LeaseEvent['type'];

/** Every event type; the compiler holds it to `LeaseEvent`. */
export const leaseEventTypes = [
  'grant',
  'granted',
  'grantFailed',
  'enable',
  'release',
  'holderGone',
  'expire',
  'deny',
  'broken',
  'revoke',
  'graceOver',
  'functionReset',
  'functionGone',
  'brokerStop',
  'phaseDone',
  'phaseTimeout',
  'quarantineReleased',
] as const satisfies readonly LeaseEventType[];

export interface LeaseState {
  readonly name: LeaseStateName;
  /** Set from the moment the end is decided. */
  readonly reason?: EndReason;
  /** The phase under way, in `reclaiming`. */
  readonly phase?: ReclaimPhase;
  /** Decided before the driver answered: reclaim follows at once. */
  readonly endAfterGrant?: boolean;
  /** The grant was published: somebody holds it. Such a lease ends, any other is refused. */
  readonly published?: boolean;
  /** The windows were connected. */
  readonly enabled?: boolean;
  /** The slice was not proved idle: quarantine follows the reclaim. */
  readonly busy?: boolean;
  /** The function is gone: nothing to quiesce. */
  readonly functionGone?: boolean;
}

/** What the runner does after a step, in this order. None is awaited before the next. */
export type LeaseEffect =
  | { readonly type: 'startGrant' }
  | { readonly type: 'publishGrant' }
  | { readonly type: 'connectWindows' }
  /** The acquirer gets this error instead of a lease. */
  | { readonly type: 'refuse'; readonly detail: string; readonly code: ErrorCode }
  /** The holder is told that the lease ends against its will, and when. */
  | { readonly type: 'announceRevoke'; readonly reason: EndReason; readonly graceMs: number }
  /** `graceOver` after `graceMs`. When a timer runs already, the earlier end counts. */
  | { readonly type: 'startGraceTimer'; readonly graceMs: number }
  /** Answered by exactly one phaseDone or phaseTimeout; a later answer changes nothing. */
  | { readonly type: 'startPhase'; readonly phase: ReclaimPhase }
  /** Reclaim is over: nothing of the lease works any more. */
  | { readonly type: 'announceEnd'; readonly reason: EndReason }
  /** Slice, PASID, IOVA window and vectors stay out of use and count against the uid. */
  | { readonly type: 'quarantineSlice' }
  /** Slice, PASID, IOVA window and vectors may be used again. */
  | { readonly type: 'freeSlice' };

export interface LeaseStep {
  readonly next: LeaseState;
  readonly effects: readonly LeaseEffect[];
}
