// Words of the lease state machine. Pure: no clock, no I/O.

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
  | { readonly type: 'grant' }
  | { readonly type: 'granted' }
  | { readonly type: 'grantFailed'; readonly detail: string }
  | { readonly type: 'enable' }
  | { readonly type: 'release' }
  | { readonly type: 'holderGone' }
  | { readonly type: 'expire' }
  | { readonly type: 'deny'; readonly detail: string }
  | { readonly type: 'revoke'; readonly detail: string; readonly graceMs: number }
  | { readonly type: 'graceOver' }
  | { readonly type: 'functionReset' }
  | { readonly type: 'functionGone' }
  | { readonly type: 'brokerStop' }
  | { readonly type: 'phaseDone'; readonly phase: ReclaimPhase; readonly idle?: boolean }
  | { readonly type: 'phaseTimeout'; readonly phase: ReclaimPhase }
  | { readonly type: 'quarantineReleased' };

export type LeaseEventType = LeaseEvent['type'];

export interface LeaseState {
  readonly name: LeaseStateName;
  /** Set from the moment the end is decided. */
  readonly reason?: EndReason;
  /** The phase under way, in `reclaiming`. */
  readonly phase?: ReclaimPhase;
  /** Decided before the driver answered: reclaim follows at once. */
  readonly endAfterGrant?: boolean;
  /** The slice was not proved idle: quarantine follows the reclaim. */
  readonly busy?: boolean;
  /** The function is gone: nothing to quiesce. */
  readonly functionGone?: boolean;
}

export type LeaseEffect =
  | { readonly type: 'startGrant' }
  | { readonly type: 'publishGrant' }
  | { readonly type: 'connectWindows' }
  | { readonly type: 'refuse'; readonly detail: string }
  | { readonly type: 'announceRevoke'; readonly reason: EndReason; readonly graceMs: number }
  | { readonly type: 'startGraceTimer'; readonly graceMs: number }
  | { readonly type: 'startPhase'; readonly phase: ReclaimPhase }
  | { readonly type: 'announceEnd'; readonly reason: EndReason }
  | { readonly type: 'quarantineSlice' }
  | { readonly type: 'freeSlice' };

export interface LeaseStep {
  readonly next: LeaseState;
  readonly effects: readonly LeaseEffect[];
}
