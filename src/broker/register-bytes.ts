// Register accesses of the wire, bytes in little-endian order, as single accesses of a width.
import { assert } from '../base/errors.js';
import type { Registers } from '../function/types.js';

/** One read of 1, 2, 4 or 8 bytes. */
export async function readRegister(
  registers: Registers,
  offsetBytes: number,
  widthBytes: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(widthBytes);
  const view = new DataView(bytes.buffer);
  switch (widthBytes) {
    case 1:
      view.setUint8(0, await registers.read8(offsetBytes));
      break;
    case 2:
      view.setUint16(0, await registers.read16(offsetBytes), true);
      break;
    case 4:
      view.setUint32(0, await registers.read32(offsetBytes), true);
      break;
    default:
      assert(widthBytes === 8, `a register of ${widthBytes} bytes`);
      view.setBigUint64(0, await registers.read64(offsetBytes), true);
  }
  return bytes;
}

/** One write of 1, 2, 4 or 8 bytes. */
export function writeRegister(
  registers: Registers,
  offsetBytes: number,
  bytes: Uint8Array,
): Promise<void> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  switch (bytes.length) {
    case 1:
      return registers.write8(offsetBytes, view.getUint8(0));
    case 2:
      return registers.write16(offsetBytes, view.getUint16(0, true));
    case 4:
      return registers.write32(offsetBytes, view.getUint32(0, true));
    default:
      assert(bytes.length === 8, `a register of ${bytes.length} bytes`);
      return registers.write64(offsetBytes, view.getBigUint64(0, true));
  }
}
