import { describe, expect, test } from 'vitest';
import { isLessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import {
  endsTenure,
  expiresWallMs,
  holderSigns,
  isExpired,
  renewTenure,
  startTenure,
  tenureTimerMs,
} from './tenure.js';

function codeOf(call: () => unknown): string | undefined {
  try {
    call();
  } catch (error) {
    return isLessorError(error) ? error.code : 'other';
  }
  return undefined;
}

describe('tenure', () => {
  test('expires exactly at its end', () => {
    const tenure = startTenure('acquirer', 1000.5, 250);
    expect(isExpired(tenure, 1250.4)).toBe(false);
    expect(isExpired(tenure, 1250.5)).toBe(true);
  });

  test('without a limit never expires, and cannot be renewed', () => {
    const tenure = startTenure('fd', 1000, undefined);
    expect(isExpired(tenure, Number.MAX_SAFE_INTEGER)).toBe(false);
    expect(tenureTimerMs(tenure, 1000)).toBeUndefined();
    expect(expiresWallMs(tenure, 1000, 5)).toBeUndefined();
    expect(codeOf(() => renewTenure(tenure, 1000, 1))).toBe('INVALID_ARGUMENT');
  });

  test('is renewed from now on, within its own limit', () => {
    const tenure = startTenure('fd', 1000, 100, 500);
    const renewed = renewTenure(tenure, 1050, 500);
    expect(renewed).toEqual({ ...tenure, expiresAtMs: 1550 });
    expect(renewTenure(renewed, 1051, 1).expiresAtMs).toBe(1052);
    expect(codeOf(() => renewTenure(tenure, 1050, 501))).toBe('INVALID_ARGUMENT');
  });

  test.each([0, -1, 1.5, Number.NaN, limits.ttlMsMax + 1])('refuses a ttl of %s', (ttlMs) => {
    expect(codeOf(() => startTenure('fd', 0, ttlMs))).toBe('INVALID_ARGUMENT');
  });

  test('takes ttlMsMax, and sleeps at most a day at a time', () => {
    const tenure = startTenure('fd', 0, limits.ttlMsMax);
    expect(tenureTimerMs(tenure, 0)).toBe(24 * 3600 * 1000);
    expect(tenureTimerMs(tenure, limits.ttlMsMax - 7)).toBe(7);
    expect(tenureTimerMs(tenure, limits.ttlMsMax + 7)).toBe(0);
  });

  test('shows its end in wall time', () => {
    const tenure = startTenure('fd', 1000.25, 500);
    expect(expiresWallMs(tenure, 1200.25, 1_700_000_000_000)).toBe(1_700_000_000_300);
  });

  test('ends with the holder: which signs count', () => {
    const ends = (holder: 'acquirer' | 'fd') =>
      holderSigns.filter((sign) => endsTenure({ holder, ttlMsMax: 1 }, sign));
    expect(ends('acquirer')).toEqual(['endOfFile', 'processGone', 'controlClosed']);
    expect(ends('fd')).toEqual(['endOfFile']);
  });
});
