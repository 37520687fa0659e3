// How a lease is taken back: the phases in order, and where they lead.
//
// A phase that misses its deadline proves nothing, and reclaim goes on. Past zap the bytes stay
// with the holder, inert, so that deadline costs nothing. Any other leaves something that may
// still be alive: fence and detach the cut (so a later idle does not count), quiesce the slice,
// disarm a vector, ungrant a PASID, unmap a translation. The slice goes into quarantine then.
import { assert } from '../base/errors.js';
import {
  type EndReason,
  type LeaseEffect,
  type LeaseState,
  type LeaseStep,
  type ReclaimPhase,
  reclaimPhases,
} from './types.js';

/** Begins the reclaim of a lease that holds a slice. The first reason given stays. */
export function startReclaim(
  state: LeaseState,
  reason: EndReason,
  effects: readonly LeaseEffect[] = [],
): LeaseStep {
  const { endAfterGrant: _, ...rest } = state;
  const next: LeaseState = {
    ...rest,
    name: 'reclaiming',
    reason: state.reason ?? reason,
    phase: 'fence',
    ...(state.functionGone ? { busy: true } : {}),
  };
  return { next, effects: [...effects, { type: 'startPhase', phase: 'fence' }] };
}

/** The phase under way was carried out. */
export function phaseDone(state: LeaseState, idle: boolean): LeaseStep {
  const provedNothing = state.phase === 'quiesce' && !idle;
  return afterPhase(provedNothing ? { ...state, busy: true } : state);
}

/** The phase under way missed its deadline. */
export function phaseTimeout(state: LeaseState): LeaseStep {
  return afterPhase(state.phase === 'zap' ? state : { ...state, busy: true });
}

/** The function vanished during reclaim: there is nothing left to quiesce. */
export function functionGoneInReclaim(state: LeaseState): LeaseStep {
  const next: LeaseState = { ...state, functionGone: true, busy: true };
  return state.phase === 'quiesce' ? afterPhase(next) : { next, effects: [] };
}

/** Position of an answer's phase: one that was left already, the one under way, or a later one. */
export function phaseOrder(state: LeaseState, phase: ReclaimPhase): 'late' | 'now' | 'early' {
  assert(state.phase !== undefined, 'a reclaim without a phase');
  const distance = reclaimPhases.indexOf(phase) - reclaimPhases.indexOf(state.phase);
  if (distance < 0) return 'late';
  return distance === 0 ? 'now' : 'early';
}

function afterPhase(state: LeaseState): LeaseStep {
  const phase = phaseAfter(state);
  if (phase === undefined) return reclaimed(state);
  return { next: { ...state, phase }, effects: [{ type: 'startPhase', phase }] };
}

function phaseAfter(state: LeaseState): ReclaimPhase | undefined {
  assert(state.phase !== undefined, 'a reclaim without a phase');
  const next = reclaimPhases[reclaimPhases.indexOf(state.phase) + 1];
  return next === 'quiesce' && state.functionGone ? 'disarm' : next;
}

function reclaimed(state: LeaseState): LeaseStep {
  const { phase: _, ...rest } = state;
  assert(state.reason !== undefined, 'a reclaim without a reason');
  const told: LeaseEffect[] = state.published
    ? [{ type: 'announceEnd', reason: state.reason }]
    : [];
  if (state.busy) {
    return {
      next: { ...rest, name: 'quarantined' },
      effects: [{ type: 'quarantineSlice' }, ...told],
    };
  }
  return { next: over(rest), effects: [{ type: 'freeSlice' }, ...told] };
}

/** The last state: a lease that was published has ended, any other was refused. */
export function over(state: Omit<LeaseState, 'phase'>): LeaseState {
  return { ...state, name: state.published ? 'ended' : 'refused' };
}
