import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AssertionFailure, ProtocolError } from '../base/errors.js';
import {
  array,
  bytes,
  flags32,
  reserved,
  s32,
  struct,
  u8,
  u16,
  u32,
  u64,
  u64Number,
} from './struct.js';

const inner = struct('inner', 3, { a: u8, b: u16 });
const sample = struct('sample', 42, {
  small: u8,
  pad: reserved(1),
  medium: u16,
  large: u32,
  signed: s32,
  flags: flags32(0x7),
  wide: u64,
  exact: u64Number,
  raw: bytes(7),
  nested: inner,
});

const value = {
  small: 1,
  medium: 0x0203,
  large: 0x04050607,
  signed: -2,
  flags: 5,
  wide: 0xfedcba9876543210n,
  exact: 2 ** 53 - 1,
  raw: Uint8Array.of(1, 2, 3, 4, 5, 6, 7),
  nested: { a: 9, b: 0x1011 },
};
const hex =
  '01000302070605 04feffffff05000000 1032547698badcfe ffffffffffff1f00 01020304050607 091110';

function fromHex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
}

function errorOf(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('struct', () => {
  it('encodes and decodes every field type, little-endian and packed', () => {
    expect(sample.encode(value)).toEqual(fromHex(hex));
    expect(sample.decode(fromHex(hex))).toEqual(value);
  });

  it('names offsets, reserved fields included', () => {
    expect(sample.offsets).toMatchObject({ small: 0, pad: 1, medium: 2, raw: 32, nested: 39 });
  });

  it('lays out an array one value after the other, and names the one that is wrong', () => {
    const codec = struct('listed', 10, { first: u16, list: array(u32, 2) });
    const bytes = fromHex('0100 02000000 fffffffe');
    expect(codec.encode({ first: 1, list: [2, 0xfeff_ffff] })).toEqual(bytes);
    expect(codec.decode(bytes)).toEqual({ first: 1, list: [2, 0xfeff_ffff] });
    expect(() => codec.encode({ first: 1, list: [2] })).toThrow(AssertionFailure);
    expect(() => codec.encode({ first: 1, list: [2, -1] })).toThrow(/listed.list\[1\]/);
    const exact = struct('exact', 16, { list: array(u64Number, 2) });
    const wide = fromHex('0000000000000000 0000000000002000');
    const error = errorOf(() => exact.decode(wide)) as ProtocolError;
    expect(error).toMatchObject({ field: 'exact.list[1]', offsetBytes: 8 });
  });

  it('does not load when the sizes do not sum to the declared one', () => {
    expect(() => struct('short', 7, { a: u32, b: u32 })).toThrow(AssertionFailure);
  });

  it('wants the exact length', () => {
    expect(() => sample.decode(fromHex(hex).subarray(1))).toThrow(ProtocolError);
    expect(() => sample.decode(new Uint8Array(43))).toThrow(ProtocolError);
    expect(() => sample.decodeAt(new Uint8Array(43), 2)).toThrow(ProtocolError);
    expect(() => sample.decodeAt(new Uint8Array(43), -1)).toThrow(ProtocolError);
    expect(sample.decodeAt(new Uint8Array([0, ...fromHex(hex)]), 1)).toEqual(value);
  });

  it('decodes a view in the middle of a larger buffer', () => {
    const large = new Uint8Array(60);
    large.set(fromHex(hex), 9);
    expect(sample.decode(large.subarray(9, 51))).toEqual(value);
  });

  it.each([
    ['a reserved byte', 1, 'sample.pad'],
    ['an unknown flag', 12, 'sample.flags'],
    ['a number of 2^53', 30, 'sample.exact'],
  ])('refuses %s with field and offset', (_name, at, field) => {
    const wire = fromHex(hex);
    wire[at] = 0xff;
    const error = errorOf(() => sample.decode(wire)) as ProtocolError;
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error.field).toBe(field);
    expect(error.offsetBytes).toBeGreaterThanOrEqual(at - 6);
    expect(error.offsetBytes).toBeLessThanOrEqual(at);
  });

  it.each([
    ['u8', { small: 256 }],
    ['u16', { medium: -1 }],
    ['u32', { large: 2 ** 32 }],
    ['fraction', { large: 0.5 }],
    ['s32', { signed: 2 ** 31 }],
    ['flags', { flags: 8 }],
    ['u64', { wide: 1n << 64n }],
    ['negative u64', { wide: -1n }],
    ['number', { exact: 2 ** 53 }],
    ['bytes', { raw: new Uint8Array(6) }],
  ])('asserts that our own %s fits', (_name, change) => {
    expect(() => sample.encode({ ...value, ...change })).toThrow(AssertionFailure);
  });

  it('writes zeros over reserved bytes', () => {
    const into = new Uint8Array(44).fill(0xff);
    sample.encodeAt(value, into, 1);
    expect(into.subarray(1, 43)).toEqual(fromHex(hex));
    expect([into[0], into[43]]).toEqual([0xff, 0xff]);
    expect(() => sample.encodeAt(value, into, 3)).toThrow(AssertionFailure);
  });

  it('reads what it wrote', () => {
    const values = fc.record({
      small: fc.nat(0xff),
      medium: fc.nat(0xffff),
      large: fc.nat({ max: 0xffff_ffff }),
      signed: fc.integer(),
      flags: fc.nat(7),
      wide: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      exact: fc.maxSafeNat(),
      raw: fc.uint8Array({ minLength: 7, maxLength: 7 }),
      nested: fc.record({ a: fc.nat(0xff), b: fc.nat(0xffff) }),
    });
    fc.assert(
      fc.property(values, (v) => {
        expect(sample.decode(sample.encode(v))).toEqual(v);
      }),
    );
  });

  it('never throws anything but ProtocolError on bytes from outside', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 64 }),
        fc.integer({ min: -2, max: 70 }),
        (data, at) => {
          for (const run of [() => sample.decode(data), () => sample.decodeAt(data, at)]) {
            const error = errorOf(run);
            expect(error === undefined || error instanceof ProtocolError).toBe(true);
          }
        },
      ),
    );
  });
});
