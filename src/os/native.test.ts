import { describe, expect, it } from 'vitest';
import { isLessorError } from '../base/errors.js';
import { loadNative } from './native.js';

function codeOf(attempt: () => unknown): unknown {
  try {
    attempt();
  } catch (error) {
    return isLessorError(error) && [error.code, error.hint];
  }
  return undefined;
}

describe('the addon', () => {
  it('is loaded once', () => {
    expect(loadNative()).toBe(loadNative());
  });

  it.each([
    ['is missing', '/nowhere/lessor.node'],
    ['is no addon', '/proc/self/maps'],
  ])('is asked for by name when it %s', (_what, path) => {
    const told = ['NATIVE_MISSING', 'run "npm run setup" in the clone'];
    expect(codeOf(() => loadNative(path))).toEqual(told);
  });
});
