// Field types of the struct codec: how one value lies in bytes. Little-endian, no padding.
// Values from outside are refused with ProtocolError; values of our own are asserted.
import { assert, ProtocolError } from '../base/errors.js';

/** How one value is read and written. `path` names it in errors, `at` is its byte offset. */
export interface FieldType<T> {
  readonly sizeBytes: number;
  read(view: DataView, at: number, path: string): T;
  write(view: DataView, at: number, value: T, path: string): void;
}

/** Bytes that must be zero; absent from the struct's value. */
export interface ReservedField extends FieldType<undefined> {
  readonly reserved: true;
}

function assertInteger(value: number, min: number, max: number, path: string): void {
  assert(Number.isInteger(value) && value >= min && value <= max, `${path} = ${value}`);
}

export const u8: FieldType<number> = {
  sizeBytes: 1,
  read: (view, at) => view.getUint8(at),
  write(view, at, value, path) {
    assertInteger(value, 0, 0xff, path);
    view.setUint8(at, value);
  },
};

export const u16: FieldType<number> = {
  sizeBytes: 2,
  read: (view, at) => view.getUint16(at, true),
  write(view, at, value, path) {
    assertInteger(value, 0, 0xffff, path);
    view.setUint16(at, value, true);
  },
};

export const u32: FieldType<number> = {
  sizeBytes: 4,
  read: (view, at) => view.getUint32(at, true),
  write(view, at, value, path) {
    assertInteger(value, 0, 0xffff_ffff, path);
    view.setUint32(at, value, true);
  },
};

export const s32: FieldType<number> = {
  sizeBytes: 4,
  read: (view, at) => view.getInt32(at, true),
  write(view, at, value, path) {
    assertInteger(value, -0x8000_0000, 0x7fff_ffff, path);
    view.setInt32(at, value, true);
  },
};

/** The full 64 bits. */
export const u64: FieldType<bigint> = {
  sizeBytes: 8,
  // Two halves: getBigUint64 is five times slower than two getUint32.
  read(view, at) {
    const low = BigInt(view.getUint32(at, true));
    const high = view.getUint32(at + 4, true);
    return high === 0 ? low : (BigInt(high) << 32n) | low;
  },
  write(view, at, value, path) {
    assert(value >= 0n && value < 1n << 64n, `${path} = ${value}`);
    view.setBigUint64(at, value, true);
  },
};

/** A u64 on the wire that must be exact in a double: 2^53 and above are refused. */
export const u64Number: FieldType<number> = {
  sizeBytes: 8,
  read(view, at, path) {
    const high = view.getUint32(at + 4, true);
    if (high > 0x1f_ffff) throw new ProtocolError(path, at, 'not below 2^53');
    return high * 0x1_0000_0000 + view.getUint32(at, true);
  },
  write(view, at, value, path) {
    assertInteger(value, 0, Number.MAX_SAFE_INTEGER, path);
    view.setUint32(at, value % 0x1_0000_0000, true);
    view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
  },
};

/** A u32 of flags: a bit outside `known` is refused. */
export function flags32(known: number): FieldType<number> {
  return {
    sizeBytes: 4,
    read(view, at, path) {
      const value = view.getUint32(at, true);
      const unknown = (value & ~known) >>> 0;
      if (unknown !== 0)
        throw new ProtocolError(path, at, `unknown flags 0x${unknown.toString(16)}`);
      return value;
    },
    write(view, at, value, path) {
      assert((value & ~known) === 0, `${path} = ${value}`);
      u32.write(view, at, value, path);
    },
  };
}

/** `sizeBytes` bytes that must be zero on the wire. */
export function reserved(sizeBytes: number): ReservedField {
  return {
    reserved: true,
    sizeBytes,
    read(view, at, path) {
      for (let i = at; i < at + sizeBytes; i++) {
        if (view.getUint8(i) !== 0) throw new ProtocolError(path, i, 'reserved byte is not zero');
      }
      return undefined;
    },
    write(view, at) {
      for (let i = at; i < at + sizeBytes; i++) view.setUint8(i, 0);
    },
  };
}

/** A fixed number of raw bytes; reading copies them. */
export function bytes(sizeBytes: number): FieldType<Uint8Array> {
  return {
    sizeBytes,
    read: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, sizeBytes).slice(),
    write(view, at, value, path) {
      assert(value.length === sizeBytes, `${path} has ${value.length} bytes`);
      new Uint8Array(view.buffer, view.byteOffset + at, sizeBytes).set(value);
    },
  };
}
