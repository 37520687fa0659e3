// The transition table: what every event means in every state. The diagram and the table in
// docs/concepts/lease-states.md are generated from it.
//
// `illegal`: our own bug, nobody may send it. `ignored`: it may well come, and changes nothing.
import { type EndEvent, isAgainstHolder, reasonOf, refusalCodes } from './end-reason.js';
import {
  functionGoneInReclaim,
  over,
  phaseDone,
  phaseOrder,
  phaseTimeout,
  startReclaim,
} from './reclaim.js';
import type {
  LeaseEffect,
  LeaseEvent,
  LeaseEventType,
  LeaseState,
  LeaseStateName,
  LeaseStep,
  ReclaimPhase,
} from './types.js';

export interface Rule<Event extends LeaseEvent = LeaseEvent> {
  /** Every state that the step may lead to. */
  readonly to: readonly LeaseStateName[];
  step(state: LeaseState, event: Event): LeaseStep | undefined;
}

export type Cell<Event extends LeaseEvent = LeaseEvent> = 'illegal' | 'ignored' | Rule<Event>;

/** One cell for each event type. */
export type Row = {
  readonly [Type in LeaseEventType]: Cell<Extract<LeaseEvent, { type: Type }>>;
};

/** A request that holds nothing yet is answered at once. */
const refuse: Rule<EndEvent> = {
  to: ['refused'],
  step(state, event) {
    const reason = reasonOf(event);
    const { cause, detail } = reason;
    const waited = cause === 'expired' ? 'no slice became free in time' : detail;
    return {
      next: over({ ...state, reason }),
      effects: [{ type: 'refuse', code: refusalCodes[cause], detail: waited }],
    };
  },
};

/** While the driver grants, an end is noted and carried out when the driver has answered. */
const endAfterGrant: Rule<EndEvent> = {
  to: ['granting'],
  step(state, event) {
    const next: LeaseState = {
      ...state,
      endAfterGrant: true,
      reason: state.reason ?? reasonOf(event),
      ...(event.type === 'functionGone' ? { functionGone: true } : {}),
    };
    return { next, effects: [] };
  },
};

const granted: Rule = {
  to: ['granted', 'reclaiming'],
  step(state) {
    if (state.reason === undefined) {
      const next: LeaseState = { ...state, name: 'granted', published: true };
      return { next, effects: [{ type: 'publishGrant' }] };
    }
    const { cause, detail } = state.reason;
    return startReclaim(state, state.reason, [
      { type: 'refuse', code: refusalCodes[cause], detail },
    ]);
  },
};

/** Whatever the driver and the function made in part is taken back like a lease. */
const grantFailed: Rule<Extract<LeaseEvent, { type: 'grantFailed' }>> = {
  to: ['reclaiming'],
  step(state, event) {
    const { detail } = event;
    const code = state.reason ? refusalCodes[state.reason.cause] : (event.code ?? 'DRIVER_FAILED');
    return startReclaim(state, { cause: 'broken', detail }, [{ type: 'refuse', code, detail }]);
  },
};

const end: Rule<EndEvent> = {
  to: ['reclaiming'],
  step(state, event) {
    const reason = reasonOf(event);
    const told: LeaseEffect[] =
      isAgainstHolder(event) && state.reason === undefined
        ? [{ type: 'announceRevoke', reason, graceMs: 0 }]
        : [];
    const gone = event.type === 'functionGone' ? { functionGone: true } : {};
    return startReclaim({ ...state, ...gone }, reason, told);
  },
};

const revoke: Rule<Extract<LeaseEvent, { type: 'revoke' }>> = {
  to: ['revoking', 'reclaiming'],
  step(state, event) {
    if (event.graceMs <= 0) return end.step(state, event);
    const timer: LeaseEffect = { type: 'startGraceTimer', graceMs: event.graceMs };
    if (state.name === 'revoking') return { next: state, effects: [timer] };
    const reason = reasonOf(event);
    return {
      next: { ...state, name: 'revoking', reason },
      effects: [{ type: 'announceRevoke', reason, graceMs: event.graceMs }, timer],
    };
  },
};

const graceOver: Rule = {
  to: ['reclaiming'],
  // Revoking always has a reason, which startReclaim keeps.
  step: (state) => startReclaim(state, { cause: 'revoked', detail: 'the grace is over' }),
};

/** An answer to a phase that was left already changes nothing; one to a later phase is a bug. */
function ifNow(
  state: LeaseState,
  phase: ReclaimPhase,
  step: () => LeaseStep,
): LeaseStep | undefined {
  const order = phaseOrder(state, phase);
  if (order === 'early') return undefined;
  return order === 'late' ? { next: state, effects: [] } : step();
}

const done: Rule<Extract<LeaseEvent, { type: 'phaseDone' }>> = {
  to: ['reclaiming', 'quarantined', 'ended', 'refused'],
  step: (state, event) => ifNow(state, event.phase, () => phaseDone(state, event.idle === true)),
};

const timeout: Rule<Extract<LeaseEvent, { type: 'phaseTimeout' }>> = {
  to: ['reclaiming', 'quarantined'],
  step: (state, event) => ifNow(state, event.phase, () => phaseTimeout(state)),
};

const ends = {
  release: end,
  holderGone: end,
  expire: end,
  deny: end,
  broken: end,
  revoke,
  functionReset: end,
  functionGone: end,
  brokerStop: end,
} as const;

const endsIgnored = {
  release: 'ignored',
  holderGone: 'ignored',
  expire: 'ignored',
  deny: 'ignored',
  broken: 'ignored',
  revoke: 'ignored',
  functionReset: 'ignored',
  functionGone: 'ignored',
  brokerStop: 'ignored',
} as const;

/** Cells of a state that awaits no answer of driver, timer or phase. */
const unasked = {
  grant: 'illegal',
  granted: 'illegal',
  grantFailed: 'illegal',
  enable: 'illegal',
  graceOver: 'illegal',
  phaseDone: 'illegal',
  phaseTimeout: 'illegal',
  quarantineReleased: 'illegal',
} as const;

/** After reclaim: late answers of phases and late signals of the world change nothing. */
const settled: Row = {
  ...unasked,
  ...endsIgnored,
  graceOver: 'ignored',
  phaseDone: 'ignored',
  phaseTimeout: 'ignored',
};

export const leaseRules: Readonly<Record<LeaseStateName, Row>> = {
  queued: {
    ...unasked,
    grant: {
      to: ['granting'],
      step: (state) => ({
        next: { ...state, name: 'granting' },
        effects: [{ type: 'startGrant' }],
      }),
    },
    release: refuse,
    holderGone: refuse,
    expire: refuse,
    deny: refuse,
    broken: refuse,
    revoke: refuse,
    // It holds nothing of the function, and may be served after the reset.
    functionReset: 'ignored',
    functionGone: refuse,
    brokerStop: refuse,
  },
  granting: {
    ...unasked,
    granted,
    grantFailed,
    release: endAfterGrant,
    holderGone: endAfterGrant,
    expire: endAfterGrant,
    deny: endAfterGrant,
    broken: endAfterGrant,
    revoke: endAfterGrant,
    functionReset: endAfterGrant,
    functionGone: endAfterGrant,
    brokerStop: endAfterGrant,
  },
  granted: {
    ...unasked,
    ...ends,
    enable: {
      to: ['active'],
      step: (state) => ({
        next: { ...state, name: 'active', enabled: true },
        effects: [{ type: 'connectWindows' }],
      }),
    },
  },
  // Windows are connected once: a second enable changes nothing.
  active: { ...unasked, ...ends, enable: 'ignored' },
  revoking: { ...unasked, ...ends, graceOver },
  reclaiming: {
    ...unasked,
    ...endsIgnored,
    functionGone: { to: ['reclaiming'], step: functionGoneInReclaim },
    graceOver: 'ignored',
    phaseDone: done,
    phaseTimeout: timeout,
  },
  quarantined: {
    ...settled,
    quarantineReleased: {
      to: ['ended', 'refused'],
      step: (state) => ({ next: over(state), effects: [{ type: 'freeSlice' }] }),
    },
  },
  ended: settled,
  refused: settled,
};
