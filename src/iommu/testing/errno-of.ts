// What a call under test gave, as one value to compare.
import { isOsError } from '../../base/errors.js';

/** The errno of a call, or its result. Anything else that it throws is thrown on. */
export function errnoOf<T>(call: () => T): T | string {
  try {
    return call();
  } catch (error) {
    if (isOsError(error)) return error.errno;
    throw error;
  }
}

/** What a call throws; undefined when it returns. */
export function thrown(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  return undefined;
}
