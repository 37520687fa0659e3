// Registers from one generic access: checks offset, alignment and value once for all widths.
import { LessorError } from '../base/errors.js';
import { hex, isAligned, toCount } from '../base/units.js';
import type { Value, Width } from '../device/types.js';
import type { Registers } from './types.js';

/** One access of `width` bytes at a checked, naturally aligned offset. */
export interface RegisterAccess {
  read(offsetBytes: number, width: Width): Value | Promise<Value>;
  write(offsetBytes: number, width: Width, value: Value): undefined | Promise<unknown>;
}

function checkOffset(offsetBytes: number, width: Width, lengthBytes: number): void {
  toCount(offsetBytes, 'register offset', lengthBytes - width);
  if (!isAligned(offsetBytes, width)) {
    throw new LessorError('INVALID_ARGUMENT', `${hex(offsetBytes)} is not aligned to ${width}`);
  }
}

const largest: Record<Width, number> = { 1: 0xff, 2: 0xffff, 4: 0xffff_ffff, 8: 0 };

function checkValue(value: Value, width: Width): Value {
  if (width !== 8) return toCount(value, 'register value', largest[width]);
  if (typeof value === 'bigint' && BigInt.asUintN(64, value) === value) return value;
  throw new LessorError('INVALID_ARGUMENT', `register value ${value} is not an unsigned 64-bit`);
}

/**
 * Registers of a range of `lengthBytes`. Every method rejects with `INVALID_ARGUMENT` for an
 * offset outside it or unaligned, or a value that does not fit.
 */
export function createRegisters(lengthBytes: number, access: RegisterAccess): Registers {
  const read = async (offsetBytes: number, width: Width): Promise<Value> => {
    checkOffset(offsetBytes, width, lengthBytes);
    return access.read(offsetBytes, width);
  };
  const write = async (offsetBytes: number, width: Width, value: Value): Promise<void> => {
    checkOffset(offsetBytes, width, lengthBytes);
    await access.write(offsetBytes, width, checkValue(value, width));
  };
  return {
    read8: async (offsetBytes) => Number(await read(offsetBytes, 1)),
    read16: async (offsetBytes) => Number(await read(offsetBytes, 2)),
    read32: async (offsetBytes) => Number(await read(offsetBytes, 4)),
    read64: async (offsetBytes) => BigInt(await read(offsetBytes, 8)),
    write8: (offsetBytes, value) => write(offsetBytes, 1, value),
    write16: (offsetBytes, value) => write(offsetBytes, 2, value),
    write32: (offsetBytes, value) => write(offsetBytes, 4, value),
    write64: (offsetBytes, value) => write(offsetBytes, 8, value),
  };
}

/** What a read of nothing returns. */
export function allOnes(width: Width): Value {
  return width === 8 ? 0xffff_ffff_ffff_ffffn : largest[width];
}
