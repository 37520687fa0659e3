import { expect, test } from 'vitest';
import type { ErrorCode } from '../base/errors.js';
import { holdsSlice, isLive, isOver, leaseOperations, mayUse, useRefusal } from './lease-step.js';
import { type EndReason, type LeaseState, type LeaseStateName, leaseStates } from './types.js';

const reason: EndReason = { cause: 'revoked', detail: 'operator' };

function stateOf(name: LeaseStateName): LeaseState {
  const late = ['revoking', 'reclaiming', 'quarantined', 'ended', 'refused'].includes(name);
  return { name, enabled: true, ...(late ? { reason } : {}) };
}

const refused: Record<LeaseStateName, readonly string[]> = {
  queued: leaseOperations.filter((operation) => operation !== 'release'),
  granting: leaseOperations.filter((operation) => operation !== 'release'),
  granted: [],
  active: [],
  revoking: ['enable', 'map', 'bindInterrupt', 'share', 'renew', 'derive'],
  reclaiming: leaseOperations,
  quarantined: leaseOperations,
  ended: leaseOperations,
  refused: leaseOperations,
};

test.each(leaseStates)('what a holder may do with a lease that is %s', (name) => {
  const no = leaseOperations.filter((operation) => !mayUse(stateOf(name), operation));
  expect(no).toEqual(refused[name]);
});

test('a lease that winds down says so', () => {
  expect(useRefusal(stateOf('revoking'), 'map')).toBe('LEASE_REVOKING');
});

test('a lease that nobody was given yet is not found', () => {
  for (const name of ['queued', 'granting'] as const) {
    expect(useRefusal({ name }, 'renew')).toBe('LEASE_NOT_FOUND');
    expect(useRefusal({ name }, 'release')).toBeUndefined();
  }
});

test('registers need the windows to be connected', () => {
  for (const name of ['granted', 'revoking'] as const) {
    expect(useRefusal({ name }, 'access')).toBe('LEASE_NOT_ENABLED');
    expect(useRefusal({ name }, 'share')).toBe('LEASE_NOT_ENABLED');
  }
});

test.each<[EndReason['cause'], ErrorCode]>([
  ['released', 'LEASE_ENDED'],
  ['holder died', 'LEASE_ENDED'],
  ['expired', 'LEASE_ENDED'],
  ['denied', 'LEASE_REVOKED'],
  ['broken', 'LEASE_REVOKED'],
  ['revoked', 'LEASE_REVOKED'],
  ['function reset', 'LEASE_STALE'],
  ['function gone', 'FUNCTION_GONE'],
  ['broker stop', 'LEASE_REVOKED'],
])('after an end by "%s" its use is answered %s', (cause, code) => {
  expect(useRefusal({ name: 'ended', reason: { cause, detail: '' } }, 'renew')).toBe(code);
});

test('which states are live, hold a slice, are over', () => {
  expect(leaseStates.filter((name) => isLive({ name }))).toEqual(['granted', 'active', 'revoking']);
  expect(leaseStates.filter((name) => isOver({ name }))).toEqual(['ended', 'refused']);
  expect(leaseStates.filter((name) => holdsSlice({ name }))).toEqual([
    'granting',
    'granted',
    'active',
    'revoking',
    'reclaiming',
    'quarantined',
  ]);
});
