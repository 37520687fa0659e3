// Why memory could not be placed, as an errno.
import { isLessorError, type OsError } from '../../base/errors.js';
import { fail } from './objects.js';

/**
 * Refusals that Linux does not know: it maps read-only descriptors and sealed files for writing by
 * a device, for it takes pages from the file and not through a mapping.
 */
export const safetyErrnos = {
  MEMORY_READ_ONLY: 'EACCES',
  MEMORY_WRITE_SEALED: 'EPERM',
} as const;

/** The OsError of a failed placement or of missing table pages, with the reason as its cause. */
export function pinError(error: unknown, call: string): unknown {
  if (!isLessorError(error)) return error;
  return fail(pinErrno(error.code), call, error.message, error);
}

/** The same for memory of a process: whatever it is that is not there, it is a bad address. */
export function userError(error: unknown, call: string): unknown {
  if (!isLessorError(error)) return error;
  const errno = pinErrno(error.code);
  return fail(errno === 'ENOMEM' ? errno : 'EFAULT', call, error.message, error);
}

function pinErrno(code: string): OsError['errno'] {
  switch (code) {
    case 'ARENA_FULL':
    case 'QUOTA_EXCEEDED':
      return 'ENOMEM';
    case 'MEMORY_READ_ONLY':
    case 'MEMORY_WRITE_SEALED':
      return safetyErrnos[code];
    default:
      return 'EINVAL';
  }
}
