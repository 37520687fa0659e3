// What the argument of an ioctl leads to: bytes at hand, or memory of the caller at an address.
import { fail } from '../objects.js';
import { addressAfter, type UserSpace } from './user-space.js';

export interface UserArgument {
  /** The bare number, for a call that takes one; undefined for bytes at hand. */
  readonly value: bigint | undefined;
  /** A copy. @throws OsError `EFAULT` */
  read(offsetBytes: number, lengthBytes: number): Uint8Array;
  /** @throws OsError `EFAULT`; what comes before may be written. */
  write(offsetBytes: number, data: Uint8Array): void;
  /** A byte that is not zero decides before what is missing behind it. @throws OsError `EFAULT` */
  isZero(offsetBytes: number, lengthBytes: number): boolean;
}

/** @param argument - Bytes behind which nothing is; or an address, or a bare number. */
export function userArgument(argument: Uint8Array | bigint, space: UserSpace): UserArgument {
  if (typeof argument !== 'bigint') return ofBytes(argument);
  const address = BigInt.asUintN(64, argument);
  return {
    value: address,
    read: (offsetBytes, lengthBytes) => space.read(addressAfter(address, offsetBytes), lengthBytes),
    write: (offsetBytes, data) => space.write(addressAfter(address, offsetBytes), data),
    isZero: (offsetBytes, lengthBytes) => {
      return space.isZero(addressAfter(address, offsetBytes), lengthBytes);
    },
  };
}

function ofBytes(bytes: Uint8Array): UserArgument {
  function check(endBytes: number): void {
    if (endBytes > bytes.length) throw fail('EFAULT', 'ioctl', `${bytes.length} bytes`);
  }
  return {
    value: undefined,
    read(offsetBytes, lengthBytes) {
      check(offsetBytes + lengthBytes);
      // Not slice: a Buffer's shares its memory.
      return new Uint8Array(bytes.subarray(offsetBytes, offsetBytes + lengthBytes));
    },
    write(offsetBytes, data) {
      check(offsetBytes + data.length);
      bytes.set(data, offsetBytes);
    },
    isZero(offsetBytes, lengthBytes) {
      const end = offsetBytes + lengthBytes;
      for (let at = offsetBytes; at < end; at++) {
        check(at + 1);
        if (bytes[at] !== 0) return false;
      }
      return true;
    },
  };
}
