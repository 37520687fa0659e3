// From the parameters of Acquire, whose types the service has checked, to a request of policy.
import { LessorError } from '../base/errors.js';
import { isolations, revocations } from '../base/labels.js';
import { limits } from '../base/limits.js';
import { toCount } from '../base/units.js';
import type { AcquireParameters } from '../varlink/interface.js';
import type { AcquireRequest } from './types.js';

function oneOf<T extends string>(
  what: string,
  words: readonly T[],
  value: string | undefined,
): T | undefined {
  if (value === undefined) return undefined;
  const word = words.find((candidate) => candidate === value);
  if (word !== undefined) return word;
  throw new LessorError('INVALID_ARGUMENT', `${what} is none of ${words.join(', ')}`);
}

function positive(what: string, value: number | undefined, max: number): number | undefined {
  if (value === undefined) return undefined;
  if (value === 0) throw new LessorError('INVALID_ARGUMENT', `${what} is 0`);
  return toCount(value, what, max);
}

/**
 * Checks words and ranges.
 *
 * @throws LessorError `INVALID_ARGUMENT` naming the parameter.
 */
export function toAcquireRequest(parameters: AcquireParameters): AcquireRequest {
  const { vectors, priority = 0 } = parameters;
  if (!Number.isInteger(priority) || Math.abs(priority) > limits.priorityMax) {
    throw new LessorError('INVALID_ARGUMENT', `priority is not in +-${limits.priorityMax}`);
  }
  return {
    kind: parameters.kind,
    slice: parameters.slice,
    memoryBytes: toCount(parameters.memoryBytes, 'memoryBytes', limits.leaseMemoryBytesMax),
    vectors:
      vectors === undefined ? undefined : toCount(vectors, 'vectors', limits.vectorsPerLeaseMax),
    isolation: oneOf('isolation', isolations, parameters.isolation),
    revocation: oneOf('revocation', revocations, parameters.revocation),
    exclusive: parameters.exclusive ?? false,
    mapped: parameters.mapped ?? false,
    ttlMs: positive('ttlMs', parameters.ttlMs, limits.ttlMsMax),
    holder: oneOf('holder', ['acquirer', 'fd'] as const, parameters.holder) ?? 'acquirer',
    waitMs: toCount(parameters.waitMs ?? 0, 'waitMs', limits.waitMsMax),
    priority,
    listen: parameters.listen !== undefined,
  };
}
