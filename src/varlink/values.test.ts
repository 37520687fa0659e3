import { describe, expect, test } from 'vitest';
import { StandardError } from './errors.js';
import { parseIdl } from './idl.js';
import { type JsonValue, parseJson } from './json.js';
import { decodeParameters } from './values.js';

const idl = parseIdl(`interface a.b
type Pair (first: int, second: ?string)
method All (
  flag: ?bool, whole: ?int, real: ?float, text: ?string, raw: ?object,
  color: ?(red, green), pair: ?Pair, list: ?[]Pair, map: ?[string]int, set: ?[string](),
  holes: ?[]?int
) -> ()
method Needs (name: string) -> ()`);

function decode(json: string, method = 'All', unknown: 'strict' | 'open' = 'strict'): unknown {
  try {
    const { input } = idl.methods.get(method)!;
    return decodeParameters(idl, input, parseJson(json), unknown);
  } catch (error) {
    return error instanceof StandardError ? error.parameters.parameter : error;
  }
}

describe('parameters', () => {
  test.each([
    '{"flag":true,"whole":-7,"real":0.5,"text":"ü","raw":{"any":[1]}}',
    '{"color":"green","pair":{"first":1,"second":"b"},"list":[{"first":2}]}',
    '{"map":{"a":1,"__proto__":2},"set":{"x":{}},"holes":[1,null]}',
    '{"whole":9007199254740991}',
    '{"real":1e+300}',
    '{}',
  ])('%s are taken as they are', (json) => {
    expect(JSON.stringify(decode(json))).toBe(json);
  });

  test('null is the same as none', () => {
    expect(decode('{"text":null,"pair":{"first":1,"second":null}}')).toEqual({
      pair: { first: 1 },
    });
    expect(decode('null')).toEqual({});
    const input = idl.methods.get('All')!.input;
    expect(decodeParameters(idl, input, undefined, 'strict')).toEqual({});
  });

  test.each([
    ['{"flag":1}', 'flag'],
    ['{"whole":0.5}', 'whole'],
    ['{"whole":9007199254740993}', 'whole'],
    ['{"whole":1e300}', 'whole'],
    ['{"whole":"1"}', 'whole'],
    ['{"real":"1"}', 'real'],
    ['{"text":7}', 'text'],
    ['{"raw":[]}', 'raw'],
    ['{"color":"blue"}', 'color'],
    ['{"color":0}', 'color'],
    ['{"pair":{}}', 'pair.first'],
    ['{"pair":[]}', 'pair'],
    ['{"pair":{"first":1,"third":1}}', 'pair.third'],
    ['{"list":[{"first":1},{"first":true}]}', 'list[1].first'],
    ['{"list":{}}', 'list'],
    ['{"map":{"a":"b"}}', 'map["a"]'],
    ['{"map":[]}', 'map'],
    ['{"set":{"x":{"y":1}}}', 'set["x"].y'],
    ['{"unknown":1}', 'unknown'],
    ['{"__proto__":{}}', '__proto__'],
    ['[]', 'parameters'],
    ['"text"', 'parameters'],
  ])('%s is refused for %s', (json, parameter) => {
    expect(decode(json)).toBe(parameter);
  });

  test('what is needed must be there', () => {
    expect(decode('{}', 'Needs')).toBe('name');
    expect(decode('{"name":null}', 'Needs')).toBe('name');
    expect(decode('{"name":""}', 'Needs')).toEqual({ name: '' });
  });

  test('a member is never found in a prototype', () => {
    const input = parseIdl('interface a.b method M (toString: ?string) -> ()').methods.get('M')!;
    expect(decodeParameters(idl, input.input, {} as JsonValue, 'strict')).toEqual({});
  });

  test('an open reader drops what it does not know', () => {
    expect(decode('{"new":1,"pair":{"first":1,"newer":2}}', 'All', 'open')).toEqual({
      pair: { first: 1 },
    });
  });

  test('the copy does not change with what was sent', () => {
    const sent = parseJson('{"list":[{"first":1}]}') as { list: { first: number }[] };
    const { input } = idl.methods.get('All')!;
    const copy = decodeParameters(idl, input, sent as JsonValue, 'strict');
    sent.list[0]!.first = 2;
    expect(copy).toEqual({ list: [{ first: 1 }] });
  });
});
