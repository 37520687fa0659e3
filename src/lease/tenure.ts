// How long a lease lasts, and which signs of its holder's end count. Arithmetic alone: the caller
// has the clock. Times are monotonic milliseconds unless they say wall.
import { LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { toCount } from '../base/units.js';

export interface Tenure {
  /** Who keeps the lease: the process that acquired it, or whoever has its descriptor. */
  readonly holder: 'acquirer' | 'fd';
  /** Absent: no time limit. */
  readonly expiresAtMs?: number;
  /** Longest time a renewal may give. */
  readonly ttlMsMax: number;
}

/** Signs that a holder is gone. */
export const holderSigns = ['endOfFile', 'processGone', 'controlClosed'] as const;
export type HolderSign = (typeof holderSigns)[number];

const msPerDay = 24 * 3600 * 1000;

/**
 * @param ttlMs - 1..ttlMsMax; absent for a lease without a time limit.
 * @throws LessorError `INVALID_ARGUMENT`
 */
export function startTenure(
  holder: Tenure['holder'],
  nowMs: number,
  ttlMs: number | undefined,
  ttlMsMax: number = limits.ttlMsMax,
): Tenure {
  if (ttlMs === undefined) return { holder, ttlMsMax };
  return { holder, ttlMsMax, expiresAtMs: nowMs + checkedTtl(ttlMs, ttlMsMax) };
}

/**
 * Lets the lease end `ttlMs` from now, sooner or later than before.
 *
 * @throws LessorError `INVALID_ARGUMENT` when it has no time limit, or for a ttl out of range.
 */
export function renewTenure(tenure: Tenure, nowMs: number, ttlMs: number): Tenure {
  if (tenure.expiresAtMs === undefined) {
    throw new LessorError('INVALID_ARGUMENT', 'the lease has no time limit to renew');
  }
  return { ...tenure, expiresAtMs: nowMs + checkedTtl(ttlMs, tenure.ttlMsMax) };
}

/** True from the last moment on. */
export function isExpired(tenure: Tenure, nowMs: number): boolean {
  return tenure.expiresAtMs !== undefined && nowMs >= tenure.expiresAtMs;
}

/**
 * How long to sleep before looking at the tenure again: until it expires, and at most a day, since
 * timers overflow at 2^31 ms. Undefined without a time limit.
 */
export function tenureTimerMs(tenure: Tenure, nowMs: number): number | undefined {
  if (tenure.expiresAtMs === undefined) return undefined;
  return Math.min(Math.max(tenure.expiresAtMs - nowMs, 0), msPerDay);
}

/** The end as a date for people, in whole wall milliseconds. */
export function expiresWallMs(tenure: Tenure, nowMs: number, wallMs: number): number | undefined {
  if (tenure.expiresAtMs === undefined) return undefined;
  return Math.round(wallMs + (tenure.expiresAtMs - nowMs));
}

/** True when the sign ends a lease of this tenure. End-of-file on the lease fd always does. */
export function endsTenure(tenure: Tenure, sign: HolderSign): boolean {
  return sign === 'endOfFile' || tenure.holder === 'acquirer';
}

function checkedTtl(ttlMs: number, ttlMsMax: number): number {
  const checked = toCount(ttlMs, 'ttlMs', ttlMsMax);
  if (checked === 0) throw new LessorError('INVALID_ARGUMENT', 'ttlMs 0 is no time at all');
  return checked;
}
