// From the addon's results (-errno below zero) to values or OsError.
import { errnoName } from '../base/errno.js';
import { OsError } from '../base/errors.js';

/**
 * The result of a native call that did not fail.
 *
 * @param detail - What the call was about, for the message.
 * @throws OsError with the errno of a negative result.
 */
export function checkResult(result: number, syscall: string, detail = ''): number {
  if (result < 0) throw osError(result, syscall, detail);
  return result;
}

/** The error behind a negative errno. */
export function osError(result: number, syscall: string, detail = ''): OsError {
  return new OsError(errnoName(-result), syscall, detail);
}

/**
 * Refuses what the addon would round: it takes exact, non-negative integers.
 *
 * @throws OsError `EINVAL`
 */
export function checkInteger(value: number, syscall: string, what: string): number {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new OsError('EINVAL', syscall, `${what} ${value} is not a whole number from 0`);
  }
  return value;
}
