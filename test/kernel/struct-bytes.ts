// Structures by offset: what is compared is bytes, so nothing here knows fields or refuses values.

/** Little-endian fields put into a structure of a known length. */
export class StructBytes {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(lengthBytes: number) {
    this.bytes = new Uint8Array(lengthBytes);
    this.#view = new DataView(this.bytes.buffer);
  }

  u16(offset: number, value: number): this {
    this.#view.setUint16(offset, value, true);
    return this;
  }

  u32(offset: number, value: number): this {
    this.#view.setUint32(offset, value >>> 0, true);
    return this;
  }

  u64(offset: number, value: bigint): this {
    this.#view.setBigUint64(offset, BigInt.asUintN(64, value), true);
    return this;
  }
}

export function u32At(bytes: Uint8Array, offset: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset, true);
}

export function u64At(bytes: Uint8Array, offset: number): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(offset, true);
}
