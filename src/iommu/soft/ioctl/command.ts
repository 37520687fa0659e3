// The entry of /dev/iommu: how a structure comes in, and how it goes back to the caller.
// Rules D1 to D6: one copy in, sizes, a tail that must be zero, and what is written back.
import { iommufdCommands } from '../../../uapi/iommufd-commands.js';
import type { Struct } from '../../../uapi/struct.js';
import { u32 } from '../../../uapi/struct.js';
import { fail } from '../objects.js';
import type { Caller } from './caller.js';
import type { UserArgument } from './user-argument.js';

/**
 * Writes the structure back: as much of it as both sides know, from `fromBytes` on.
 *
 * @throws OsError `EFAULT`
 */
export type Reply<T> = (fields: T, fromBytes?: number) => void;

/** What one request number does. */
export interface Command {
  readonly request: number;
  readonly structBytes: number;
  readonly leastBytes: number;
  /** @param bytes - A whole structure, of our own. */
  execute(caller: Caller, bytes: Uint8Array, write: (data: Uint8Array, at: number) => void): void;
}

const leastBytesOf = new Map(iommufdCommands.map((each) => [each.request, each.leastBytes]));

/**
 * @param run - What it does once the structure is in. What it throws ends the call; only `reply`
 *   changes the structure of the caller.
 */
export function command<T>(
  request: number,
  struct: Struct<T>,
  run: (caller: Caller, fields: T, reply: Reply<T>) => void,
): Command {
  const structBytes = struct.sizeBytes;
  return {
    request,
    structBytes,
    leastBytes: leastBytesOf.get(request) ?? structBytes,
    execute(caller, bytes, write) {
      run(caller, struct.decode(bytes), (fields, fromBytes = 0) => {
        write(struct.encode(fields).subarray(fromBytes), fromBytes);
      });
    },
  };
}

/** @throws OsError of the entry, or of the command. */
export function runCommand(
  commands: ReadonlyMap<number, Command>,
  request: number,
  caller: Caller,
  argument: UserArgument,
): void {
  const size = readSize(argument);
  const found = commands.get(request);
  if (found === undefined) throw fail('ENOTTY', 'ioctl', `0x${request.toString(16)}`);
  const bytes = readStruct(argument, size, found.structBytes, found.leastBytes);
  found.execute(caller, bytes, (data, at) => {
    argument.write(at, data.subarray(0, Math.max(size - at, 0)));
  });
}

/** Read once: memory of a caller may change. @throws OsError `EFAULT` */
export function readSize(argument: UserArgument): number {
  return u32.read(argument.read(0, u32.sizeBytes), 0, 'size');
}

/**
 * A structure of another age: what the caller does not know is zero, and what is unknown here must
 * be.
 *
 * @param size - As the caller knows it.
 * @throws OsError `EFAULT`, `EINVAL` below `leastBytes`, `E2BIG`
 */
export function readStruct(
  argument: UserArgument,
  size: number,
  structBytes: number,
  leastBytes: number,
): Uint8Array {
  if (size < leastBytes) throw fail('EINVAL', 'ioctl', `size ${size}`);
  if (size > structBytes && !argument.isZero(structBytes, size - structBytes)) {
    throw fail('E2BIG', 'ioctl', `size ${size}`);
  }
  const bytes = new Uint8Array(structBytes);
  bytes.set(argument.read(0, Math.min(size, structBytes)));
  return bytes;
}

/** @throws OsError `EOPNOTSUPP` */
export function checkReserved(call: string, ...fields: readonly number[]): void {
  if (fields.some((field) => field !== 0)) throw fail('EOPNOTSUPP', call, 'a reserved field');
}

/** Tells the caller of something new; when that fails nothing new stays. */
export function replyOrUndo(reply: () => void, undo: () => void): void {
  try {
    reply();
  } catch (error) {
    undo();
    throw error;
  }
}
