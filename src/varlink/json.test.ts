import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isProtocolError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { parseJson } from './json.js';

function failure(text: string): string | undefined {
  try {
    parseJson(text);
  } catch (error) {
    return isProtocolError(error) ? error.message : 'another error';
  }
  return undefined;
}

describe('strict JSON', () => {
  test('reads what JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 8 }), (value) => {
        const text = JSON.stringify(value);
        expect(JSON.stringify(parseJson(text))).toBe(text);
      }),
    );
  });

  test('fails with nothing but a ProtocolError, and reads nothing that JSON.parse refuses', () => {
    const soup = fc.string({ unit: fc.constantFrom(...'{}[]",:\\u0eE+-.1 truefalsn\n\t') });
    fc.assert(
      fc.property(fc.oneof(fc.string(), soup), (text) => {
        const failed = failure(text);
        expect(failed).not.toBe('another error');
        if (failed === undefined) expect(() => JSON.parse(text)).not.toThrow();
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ['', 'not a value'],
    ['{', 'not a string'],
    ['{"a"}', 'key without a value'],
    ['{"a":1,}', 'not a string'],
    ['{"a":1', 'object without an end'],
    ['[1,]', 'not a value'],
    ['[1', 'array without an end'],
    ['{} {}', 'text behind the value'],
    ['01', 'text behind the value'],
    ['+1', 'not a value'],
    ['.5', 'not a value'],
    ['NaN', 'not a value'],
    ['"\n"', 'not a string'],
    ['"\\x41"', 'not a string'],
    ["'a'", 'not a value'],
    ['1e999', 'number out of range'],
    ['{"a":1,"a":2}', '"a" twice'],
    ['{"a":1,"\\u0061":2}', '"a" twice'],
    ['{"__proto__":1,"__proto__":2}', '"__proto__" twice'],
  ])('refuses %s', (text, detail) => {
    expect(failure(text)).toContain(detail);
  });

  test('nests to the limit and not one deeper', () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
    expect(failure(nested(limits.varlinkDepthMax))).toBeUndefined();
    expect(failure(nested(limits.varlinkDepthMax + 1))).toContain('nested deeper');
    expect(failure('[{"a":'.repeat(30_000))).toContain('nested deeper');
  });

  test('takes a prototype for a name like any other', () => {
    const value = parseJson('{"__proto__":{"admin":true},"constructor":1}') as object;
    expect(Object.getPrototypeOf(value)).toBeNull();
    expect(Object.keys(value)).toEqual(['__proto__', 'constructor']);
    expect(({} as { admin?: boolean }).admin).toBeUndefined();
  });

  test('reads a string as long as a message at once', () => {
    const text = JSON.stringify('\\"x'.repeat(20_000));
    expect(parseJson(text)).toBe(JSON.parse(text));
  });
});
