// Field types of the struct codec: how one value lies in bytes. Little-endian, no padding.
// Values from outside are refused with ProtocolError; values of our own are asserted.
// Bytes are put together by hand: a DataView per message costs more than all of its fields.
import { AssertionFailure, assert, ProtocolError } from '../base/errors.js';

/**
 * How one value is read and written. `path` names it in errors, `at` is its byte offset. The
 * struct has checked that the field lies within `data`.
 */
export interface FieldType<T> {
  readonly sizeBytes: number;
  read(data: Uint8Array, at: number, path: string): T;
  write(data: Uint8Array, at: number, value: T, path: string): void;
}

/** Bytes that must be zero; absent from the struct's value. */
export interface ReservedField extends FieldType<undefined> {
  readonly reserved: true;
}

const word = 0x1_0000_0000;
const u64End = 1n << 64n;

/** What went wrong is spelt only then: the text costs more than the check. */
function refuse(path: string, value: number | bigint): never {
  throw new AssertionFailure(`${path} = ${value}`);
}

function assertInteger(value: number, min: number, max: number, path: string): void {
  if (!Number.isInteger(value) || value < min || value > max) refuse(path, value);
}

function byteAt(data: Uint8Array, at: number): number {
  return data[at] as number;
}

/** The four bytes at `at` as a signed number. */
function get32(data: Uint8Array, at: number): number {
  return (
    byteAt(data, at) |
    (byteAt(data, at + 1) << 8) |
    (byteAt(data, at + 2) << 16) |
    (byteAt(data, at + 3) << 24)
  );
}

function put32(data: Uint8Array, at: number, value: number): void {
  data[at] = value;
  data[at + 1] = value >>> 8;
  data[at + 2] = value >>> 16;
  data[at + 3] = value >>> 24;
}

export const u8: FieldType<number> = {
  sizeBytes: 1,
  read: byteAt,
  write(data, at, value, path) {
    assertInteger(value, 0, 0xff, path);
    data[at] = value;
  },
};

export const u16: FieldType<number> = {
  sizeBytes: 2,
  read: (data, at) => byteAt(data, at) | (byteAt(data, at + 1) << 8),
  write(data, at, value, path) {
    assertInteger(value, 0, 0xffff, path);
    data[at] = value;
    data[at + 1] = value >>> 8;
  },
};

export const u32: FieldType<number> = {
  sizeBytes: 4,
  read: (data, at) => get32(data, at) >>> 0,
  write(data, at, value, path) {
    assertInteger(value, 0, 0xffff_ffff, path);
    put32(data, at, value);
  },
};

export const s32: FieldType<number> = {
  sizeBytes: 4,
  read: get32,
  write(data, at, value, path) {
    assertInteger(value, -0x8000_0000, 0x7fff_ffff, path);
    put32(data, at, value);
  },
};

/** The full 64 bits. */
export const u64: FieldType<bigint> = {
  sizeBytes: 8,
  read(data, at) {
    const low = BigInt(get32(data, at) >>> 0);
    const high = get32(data, at + 4) >>> 0;
    return high === 0 ? low : (BigInt(high) << 32n) | low;
  },
  write(data, at, value, path) {
    if (!(value >= 0n && value < u64End)) refuse(path, value);
    put32(data, at, Number(value & 0xffff_ffffn));
    put32(data, at + 4, Number(value >> 32n));
  },
};

/** A u64 on the wire that must be exact in a double: 2^53 and above are refused. */
export const u64Number: FieldType<number> = {
  sizeBytes: 8,
  read(data, at, path) {
    const high = get32(data, at + 4) >>> 0;
    if (high > 0x1f_ffff) throw new ProtocolError(path, at, 'not below 2^53');
    return high * word + (get32(data, at) >>> 0);
  },
  write(data, at, value, path) {
    assertInteger(value, 0, Number.MAX_SAFE_INTEGER, path);
    put32(data, at, value % word);
    put32(data, at + 4, Math.floor(value / word));
  },
};

/** A u32 of flags: a bit outside `known` is refused. */
export function flags32(known: number): FieldType<number> {
  return {
    sizeBytes: 4,
    read(data, at, path) {
      const value = get32(data, at) >>> 0;
      const unknown = (value & ~known) >>> 0;
      if (unknown === 0) return value;
      throw new ProtocolError(path, at, `unknown flags 0x${unknown.toString(16)}`);
    },
    write(data, at, value, path) {
      if ((value & ~known) !== 0) refuse(path, value);
      put32(data, at, value);
    },
  };
}

/** `sizeBytes` bytes that must be zero on the wire. */
export function reserved(sizeBytes: number): ReservedField {
  return {
    reserved: true,
    sizeBytes,
    read(data, at, path) {
      for (let i = at; i < at + sizeBytes; i++) {
        if (data[i] !== 0) throw new ProtocolError(path, i, 'reserved byte is not zero');
      }
      return undefined;
    },
    write(data, at) {
      data.fill(0, at, at + sizeBytes);
    },
  };
}

/** A fixed number of raw bytes; reading copies them. */
export function bytes(sizeBytes: number): FieldType<Uint8Array> {
  return {
    sizeBytes,
    // Not slice: a Buffer's shares its memory.
    read: (data, at) => new Uint8Array(data.subarray(at, at + sizeBytes)),
    write(data, at, value, path) {
      assert(value.length === sizeBytes, `${path} has ${value.length} bytes`);
      data.set(value, at);
    },
  };
}

/** A fixed number of values of one type, one after the other. */
export function array<T>(type: FieldType<T>, count: number): FieldType<readonly T[]> {
  const { sizeBytes } = type;
  return {
    sizeBytes: count * sizeBytes,
    read(data, at, path) {
      return Array.from({ length: count }, (_, i) => {
        return type.read(data, at + i * sizeBytes, `${path}[${i}]`);
      });
    },
    write(data, at, value, path) {
      assert(value.length === count, `${path} has ${value.length} values`);
      value.forEach((item, i) => {
        type.write(data, at + i * sizeBytes, item, `${path}[${i}]`);
      });
    },
  };
}
