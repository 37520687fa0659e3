import { describe, expect, it } from 'vitest';
import { LessorError, OsError } from '../../base/errors.js';
import { fromWords, toWords } from './worker-messages.js';

describe('an error that goes to another thread', () => {
  it.each([
    new LessorError('QUOTA_EXCEEDED', 'too much', { hint: 'ask for less' }),
    new LessorError('IOVA_OVERLAP', 'something is there'),
    new OsError('EIO', 'ioctl'),
  ])('arrives with all that it says', (error) => {
    const { code, hint, errno, syscall } = fromWords(structuredClone(toWords(error))) as never;
    expect({ code, hint, errno, syscall }).toEqual({
      code: (error as { code?: string }).code,
      hint: (error as { hint?: string }).hint,
      errno: error.errno,
      syscall: (error as { syscall?: string }).syscall,
    });
  });
});
