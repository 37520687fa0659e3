// Bytes of the wire as values of one register, and back. Little-endian, as the protocol is here.
import type { Value, Width } from '../../device/types.js';
import { u16, u32, u64 } from '../../uapi/struct.js';

/** The width of a single, naturally aligned access, or undefined when it is none. */
export function widthOf(offsetBytes: number, lengthBytes: number): Width | undefined {
  const isWidth = lengthBytes === 4 || lengthBytes === 8 || lengthBytes === 2 || lengthBytes === 1;
  return isWidth && offsetBytes % lengthBytes === 0 ? lengthBytes : undefined;
}

/** The widest naturally aligned access at the start of a range. */
export function pieceWidth(offsetBytes: number, leftBytes: number): Width {
  if (leftBytes >= 8 && offsetBytes % 8 === 0) return 8;
  if (leftBytes >= 4 && offsetBytes % 4 === 0) return 4;
  return leftBytes >= 2 && offsetBytes % 2 === 0 ? 2 : 1;
}

/** @param value - Of a device: cut to the width. */
export function valueToBytes(value: Value, width: Width): Uint8Array {
  const bytes = new Uint8Array(width);
  putValue(bytes, 0, width, value);
  return bytes;
}

/** As `valueToBytes`, into a place. */
export function putValue(bytes: Uint8Array, at: number, width: Width, value: Value): void {
  if (width === 8) {
    u64.write(bytes, at, BigInt.asUintN(64, BigInt(value)), 'value');
    return;
  }
  const low = typeof value === 'bigint' ? Number(BigInt.asUintN(32, value)) : value;
  bytes[at] = low;
  if (width > 1) bytes[at + 1] = low >>> 8;
  if (width < 4) return;
  bytes[at + 2] = low >>> 16;
  bytes[at + 3] = low >>> 24;
}

export function valueFromBytes(bytes: Uint8Array, at: number, width: Width): Value {
  if (width === 4) return u32.read(bytes, at, 'value');
  if (width === 8) return u64.read(bytes, at, 'value');
  return width === 2 ? u16.read(bytes, at, 'value') : (bytes[at] as number);
}

/** What a read of nothing returns. */
export function onesOf(width: Width): Value {
  return width === 8 ? 0xffff_ffff_ffff_ffffn : 2 ** (8 * width) - 1;
}
