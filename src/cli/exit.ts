// How an error becomes an exit status and words on stderr.
import { exitStatusOf } from '../base/error-table.js';
import { type ErrorCode, isLessorError, isOsError } from '../base/errors.js';

/** Exit statuses that are not in the error table. */
export const exitStatus = { ok: 0, failure: 1, usage: 2, bug: 70 } as const;

export interface Complaint {
  readonly status: number;
  readonly lines: readonly string[];
}

/** What to print and to exit with for an error that ended a command. */
export function complaintOf(error: unknown): Complaint {
  if (isLessorError(error)) {
    return {
      status: exitStatusOf(error.code as ErrorCode),
      lines: [`lessor: ${error.message} (${error.code})`, `  ${error.hint}`],
    };
  }
  if (isOsError(error)) {
    return { status: exitStatus.failure, lines: [`lessor: ${error.message}`] };
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { status: exitStatus.bug, lines: ['lessor: a bug in lessor:', text] };
}
