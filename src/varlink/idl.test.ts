import { describe, expect, test } from 'vitest';
import { isProtocolError } from '../base/errors.js';
import { type IdlType, parseIdl } from './idl.js';
import { adminDescription, controlDescription } from './interface.js';
import { serviceDescription } from './service-interface.js';

const typeOf = (text: string): IdlType =>
  parseIdl(`interface a.b\ntype T (field: ${text})\ntype Other ()`).types.get('T')!;

const field = (type: object) => ({ kind: 'struct', fields: [{ name: 'field', type }] });

function failure(text: string): string | undefined {
  try {
    parseIdl(text);
  } catch (error) {
    return isProtocolError(error) ? error.message : `other ${String(error)}`;
  }
  return undefined;
}

describe('the description language', () => {
  test.each(['bool', 'int', 'float', 'string', 'object'])('%s', (kind) => {
    expect(typeOf(kind)).toEqual(field({ kind }));
  });

  test('arrays, maps, optionals, names, structs, enums', () => {
    const text = { kind: 'string' };
    expect(typeOf('[]string')).toEqual(field({ kind: 'array', of: text }));
    expect(typeOf('[string]string')).toEqual(field({ kind: 'map', of: text }));
    expect(typeOf('?string')).toEqual(field({ kind: 'optional', of: text }));
    expect(typeOf('?[][string]string')).toEqual(
      field({ kind: 'optional', of: { kind: 'array', of: { kind: 'map', of: text } } }),
    );
    expect(typeOf('Other')).toEqual(field({ kind: 'named', name: 'Other' }));
    expect(typeOf('(field: string)')).toEqual(field(field(text)));
    expect(typeOf('(one, two_2)')).toEqual(field({ kind: 'enum', names: ['one', 'two_2'] }));
    expect(typeOf('()')).toEqual(field({ kind: 'struct', fields: [] }));
  });

  test('types named by a word of the language are fields too', () => {
    expect(parseIdl('interface a.b type T (type: string, int: int, error: bool)').types.size).toBe(
      1,
    );
  });

  test('methods and errors, comments anywhere', () => {
    const idl = parseIdl(`# first
      interface org.example-2.test # name
      # says how
      method Do ( # in
        a : int # a
      ) -> () # nothing
      error Wrong ( why : string )
      type Kind (big, small) # last`);
    expect(idl.name).toBe('org.example-2.test');
    expect([...idl.methods.keys()]).toEqual(['Do']);
    expect(idl.methods.get('Do')?.input.fields).toEqual([{ name: 'a', type: { kind: 'int' } }]);
    expect(idl.methods.get('Do')?.output.fields).toEqual([]);
    expect([...idl.errors.keys()]).toEqual(['Wrong']);
    expect(idl.types.get('Kind')).toEqual({ kind: 'enum', names: ['big', 'small'] });
  });

  test.each([
    ['', '"interface" is missing'],
    ['interface lone', 'the name of an interface'],
    ['interface a.b method do() -> ()', 'a name with a capital'],
    ['interface a.b method Do()', 'expected "->"'],
    ['interface a.b method Do(a) -> ()', 'expected fields with types'],
    ['interface a.b type T (a: int, b)', 'a field without a type'],
    ['interface a.b type T (a: int, a: int)', 'a is declared twice'],
    ['interface a.b type T () error T ()', 'T is declared twice'],
    ['interface a.b type T (a: ??int)', 'optional twice'],
    ['interface a.b type T (a: Missing)', 'no type Missing'],
    ['interface a.b type T (a: integer)', 'expected "("'],
    ['interface a.b type T (a_: int)', 'expected ")"'],
    ['interface a.b type T (a: int', 'expected ")"'],
    ['interface a.b function F ()', '"function" is no kind'],
    ['interface a.b 7', 'expected "type"'],
  ])('refuses %s', (text, detail) => {
    expect(failure(text)).toContain(detail);
  });
});

test.each([
  ['org.varlink.service', serviceDescription],
  ['io.lessor.Control', controlDescription],
  ['io.lessor.Admin', adminDescription],
])('the description of %s is one', (name, description) => {
  expect(parseIdl(description).name).toBe(name);
});
