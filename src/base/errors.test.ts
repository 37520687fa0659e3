import { describe, expect, test } from 'vitest';
import { errnoNumbers } from './errno.js';
import { errorPage } from './error-page.js';
import { type ErrorCode, errorTable, exitStatusOf } from './error-table.js';
import {
  AssertionFailure,
  assert,
  errnoOf,
  isLessorError,
  isOsError,
  isProtocolError,
  LessorError,
  OsError,
  ProtocolError,
  unreachable,
} from './errors.js';

const codes = Object.keys(errorTable) as ErrorCode[];

describe('the error table', () => {
  test.each(codes)('%s has a sane row', (code) => {
    const { errno, retry, exit, hint } = errorTable[code];
    expect(code).toMatch(/^[A-Z]+(_[A-Z]+)*$/);
    expect(errnoNumbers[errno]).toBeGreaterThan(0);
    expect([1, 2, 3, 4, 5, 6]).toContain(exit);
    expect(typeof retry).toBe('boolean');
    expect(hint.length).toBeGreaterThan(5);
    expect(hint.length).toBeLessThan(80);
    expect(hint).not.toMatch(/\.$|^[A-Z][a-z]/);
    expect(exitStatusOf(code)).toBe(exit);
  });

  test('what is busy can be tried again, what is denied cannot', () => {
    for (const code of codes) {
      const { retry, exit } = errorTable[code];
      if (exit === 5) expect(retry, code).toBe(true);
      if (exit === 2 || exit === 4 || exit === 6) expect(retry, code).toBe(false);
    }
  });

  test('has a page with a row for each', () => {
    const page = errorPage();
    for (const code of codes) expect(page).toContain(`| \`${code}\` | ${errorTable[code].errno} |`);
  });
});

describe('the four kinds of error', () => {
  test('ours take errno, hint and retry from the table', () => {
    const cause = new TypeError('below');
    const error = new LessorError('NO_FREE_SLICE', 'all taken', { cause });
    expect(error).toMatchObject({
      name: 'LessorError',
      code: 'NO_FREE_SLICE',
      errno: 'EBUSY',
      retry: true,
      hint: errorTable.NO_FREE_SLICE.hint,
      message: 'all taken',
      cause,
    });
    expect(new LessorError('DENIED', 'x', { hint: 'ask nicely' }).hint).toBe('ask nicely');
    expect('cause' in new LessorError('DENIED', 'x')).toBe(false);
  });

  test('of a wire format say where', () => {
    const error = new ProtocolError('header.size', 4, 'too small');
    expect(error.message).toBe('header.size at byte 4: too small');
    expect(error).toMatchObject({ field: 'header.size', offsetBytes: 4, errno: 'EINVAL' });
    expect(new ProtocolError('a', 0, 'b', { errno: 'EPROTO' }).errno).toBe('EPROTO');
  });

  test('of a system call say which', () => {
    expect(new OsError('ENOENT', 'open').message).toBe('open: ENOENT');
    expect(new OsError('ENOENT', 'open', '/x').message).toBe('open /x: ENOENT');
  });

  test('of our own are thrown by assert', () => {
    expect(() => assert(0, 'broken')).toThrow(AssertionFailure);
    expect(() => assert(1, 'fine')).not.toThrow();
    expect(() => unreachable('x' as never)).toThrow('unreachable: x');
  });

  test('are told apart by name, so that copies of the package agree', () => {
    const foreign = Object.assign(new Error('x'), { name: 'LessorError', code: 'DENIED' });
    expect(isLessorError(foreign)).toBe(true);
    expect(isLessorError(foreign, 'DENIED')).toBe(true);
    expect(isLessorError(foreign, 'LEASE_STALE')).toBe(false);
    expect(isLessorError({ name: 'LessorError', code: 'DENIED' })).toBe(false);
    expect(isOsError(new OsError('EIO', 'read'), 'EIO')).toBe(true);
    expect(isOsError(new OsError('EIO', 'read'), 'EPERM')).toBe(false);
    expect(isProtocolError(new OsError('EIO', 'read'))).toBe(false);
  });

  test('have an errno to answer with, but for bugs', () => {
    expect(errnoOf(new LessorError('DENIED', ''))).toBe('EACCES');
    expect(errnoOf(new OsError('EIO', 'read'))).toBe('EIO');
    expect(errnoOf(new ProtocolError('a', 0, ''))).toBe('EINVAL');
    expect(errnoOf(new AssertionFailure(''))).toBeUndefined();
    expect(errnoOf('text')).toBeUndefined();
  });
});
