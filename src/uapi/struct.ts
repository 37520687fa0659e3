// The struct codec: one schema gives decode, encode, size and the TypeScript type.
import { assert, ProtocolError } from '../base/errors.js';
import type { FieldType, ReservedField } from './fields.js';

export { array, bytes, flags32, reserved, s32, u8, u16, u32, u64, u64Number } from './fields.js';

export type Fields = Readonly<Record<string, FieldType<unknown>>>;

/** The value of a struct: its fields without the reserved ones. */
export type ValueOf<F extends Fields> = {
  readonly [K in keyof F as F[K] extends ReservedField ? never : K]: F[K] extends FieldType<infer T>
    ? T
    : never;
};

/** The value type of a codec: `Decoded<typeof header>`. */
export type Decoded<C> = C extends Struct<infer T> ? T : never;

export interface Struct<T> extends FieldType<T> {
  readonly name: string;
  /** Byte offset of every field, reserved ones included. */
  readonly offsets: Readonly<Record<string, number>>;
  /**
   * Exactly one struct.
   *
   * @throws ProtocolError when `data` has another length or a field is out of range.
   */
  decode(data: Uint8Array): T;
  /**
   * The struct at `offsetBytes` of a larger message.
   *
   * @throws ProtocolError when it does not fit or a field is out of range.
   */
  decodeAt(data: Uint8Array, offsetBytes: number): T;
  encode(value: T): Uint8Array;
  /** Writes every byte of the struct, reserved ones included, at `offsetBytes`. */
  encodeAt(value: T, into: Uint8Array, offsetBytes: number): void;
}

interface Placed {
  readonly name: string;
  readonly path: string;
  readonly offsetBytes: number;
  readonly type: FieldType<unknown>;
  readonly reserved: boolean;
}

function place(name: string, sizeBytes: number, fields: Fields): Placed[] {
  let offsetBytes = 0;
  const placed: Placed[] = [];
  for (const [field, type] of Object.entries(fields)) {
    placed.push({
      name: field,
      path: `${name}.${field}`,
      offsetBytes,
      type,
      reserved: 'reserved' in type,
    });
    offsetBytes += type.sizeBytes;
  }
  assert(offsetBytes === sizeBytes, `${name}: fields take ${offsetBytes} bytes, not ${sizeBytes}`);
  return placed;
}

/**
 * A packed little-endian struct.
 *
 * @param name - The C name, as errors show it.
 * @param sizeBytes - sizeof in C; the fields must sum to it, or the module does not load.
 * @param fields - In order of their offsets.
 */
export function struct<F extends Fields>(
  name: string,
  sizeBytes: number,
  fields: F,
): Struct<ValueOf<F>> {
  const placed = place(name, sizeBytes, fields);

  function read(data: Uint8Array, at: number): ValueOf<F> {
    const value: Record<string, unknown> = {};
    for (const field of placed) {
      const read = field.type.read(data, at + field.offsetBytes, field.path);
      if (!field.reserved) value[field.name] = read;
    }
    return value as ValueOf<F>;
  }

  function write(data: Uint8Array, at: number, value: ValueOf<F>): void {
    const values = value as Readonly<Record<string, unknown>>;
    for (const field of placed) {
      field.type.write(data, at + field.offsetBytes, values[field.name], field.path);
    }
  }

  return {
    name,
    sizeBytes,
    offsets: Object.fromEntries(placed.map((field) => [field.name, field.offsetBytes])),
    read,
    write,
    decode(data) {
      if (data.length !== sizeBytes) {
        const at = Math.min(data.length, sizeBytes);
        throw new ProtocolError(name, at, `${data.length} bytes instead of ${sizeBytes}`);
      }
      return read(data, 0);
    },
    decodeAt(data, offsetBytes) {
      if (offsetBytes < 0 || offsetBytes + sizeBytes > data.length) {
        throw new ProtocolError(name, offsetBytes, `does not fit in ${data.length} bytes`);
      }
      return read(data, offsetBytes);
    },
    encode(value) {
      const into = new Uint8Array(sizeBytes);
      write(into, 0, value);
      return into;
    },
    encodeAt(value, into, offsetBytes) {
      assert(offsetBytes + sizeBytes <= into.length, `${name} at ${offsetBytes}`);
      write(into, offsetBytes, value);
    },
  };
}
