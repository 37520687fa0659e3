import { expect, test } from 'vitest';
import { isLessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { AcquireParameters } from '../varlink/interface.js';
import { toAcquireRequest } from './request.js';

test('a full request', () => {
  const parameters: AcquireParameters = {
    kind: 'queue',
    slice: 'queue3',
    memoryBytes: 4096,
    vectors: 1,
    isolation: 'device-bounds',
    revocation: 'kernel',
    exclusive: true,
    mapped: true,
    ttlMs: 1000,
    holder: 'fd',
    waitMs: 50,
    priority: -3,
    listen: 0,
  };
  expect(toAcquireRequest(parameters)).toEqual({ ...parameters, listen: true });
});

test('what is not said', () => {
  expect(toAcquireRequest({ memoryBytes: 0 })).toEqual({
    kind: undefined,
    slice: undefined,
    memoryBytes: 0,
    vectors: undefined,
    isolation: undefined,
    revocation: undefined,
    exclusive: false,
    mapped: false,
    ttlMs: undefined,
    holder: 'acquirer',
    waitMs: 0,
    priority: 0,
    listen: false,
  });
});

test.each<[string, Record<string, unknown>]>([
  ['memoryBytes', { memoryBytes: -1 }],
  ['memoryBytes', { memoryBytes: limits.leaseMemoryBytesMax + 1 }],
  ['memoryBytes', { memoryBytes: 2 ** 53 }],
  ['vectors', { vectors: limits.vectorsPerLeaseMax + 1 }],
  ['vectors', { vectors: -1 }],
  ['isolation', { isolation: 'none' }],
  ['isolation', { isolation: '' }],
  ['revocation', { revocation: 'toString' }],
  ['ttlMs', { ttlMs: 0 }],
  ['ttlMs', { ttlMs: limits.ttlMsMax + 1 }],
  ['holder', { holder: 'me' }],
  ['waitMs', { waitMs: limits.waitMsMax + 1 }],
  ['waitMs', { waitMs: -1 }],
  ['priority', { priority: limits.priorityMax + 1 }],
  ['priority', { priority: -limits.priorityMax - 1 }],
  ['priority', { priority: 0.5 }],
])('%s out of range: %j', (what, wrong) => {
  let error: unknown;
  try {
    toAcquireRequest({ memoryBytes: 4096, ...wrong } as AcquireParameters);
  } catch (caught) {
    error = caught;
  }
  expect(isLessorError(error, 'INVALID_ARGUMENT')).toBe(true);
  expect(String(error)).toContain(what);
});

test.each([
  { memoryBytes: limits.leaseMemoryBytesMax },
  { vectors: limits.vectorsPerLeaseMax },
  { ttlMs: limits.ttlMsMax },
  { waitMs: limits.waitMsMax },
  { priority: limits.priorityMax },
])('exactly at the limit: %j', (parameters) => {
  expect(toAcquireRequest({ memoryBytes: 4096, ...parameters })).toMatchObject(parameters);
});
