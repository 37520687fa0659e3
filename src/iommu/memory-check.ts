// What a client's memory must be before anything of it is mapped. Every check is on a private copy
// of the request, in an order in which nothing can hang on a hostile descriptor.
import { isOsError, LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { hex, type Iova } from '../base/units.js';
import type { Fd } from '../os/fd.js';
import {
  F_SEAL_FUTURE_WRITE,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  type MemoryIdentity,
  type MemoryOs,
} from '../os/memory-types.js';
import type { Access, DmaMemory } from './types.js';

/** A map as it was asked for; numbers up to u64, nothing checked. */
export interface MapRequest {
  /** Absent: reached by message. Not owned. */
  readonly fd: Fd | undefined;
  readonly offsetBytes: number | bigint;
  readonly iova: number | bigint;
  readonly lengthBytes: number | bigint;
  readonly access: Access;
}

export interface MapRules {
  /** The lease's IOVA window: first byte, and one past the last. At most 2^48. */
  readonly window: { readonly start: number; readonly end: number };
  readonly pageBytes: number;
  /** For VM monitors that seal nothing. */
  readonly allowUnsealedMemory: boolean;
  /**
   * The window of a lease that an object is, told by its identity alone; undefined when it is none.
   *
   * @throws LessorError when whoever maps may not have it so.
   */
  readonly windowOf?: (identity: MemoryIdentity, access: Access) => WindowTarget | undefined;
  /**
   * The same of what is no memory, told by its being one open file with the window's: whoever made
   * the descriptor, nothing else may be asked of it, as that can hang.
   *
   * @throws LessorError when whoever maps may not have it so.
   */
  readonly windowOfFile?: (fd: Fd, access: Access) => WindowTarget | undefined;
}

/** A window as something to map. */
export type WindowTarget = Pick<DmaMemory, 'fd' | 'window'> & { readonly lengthBytes: number };

/** A checked copy of a request. */
export interface CheckedMap extends DmaMemory {
  readonly iova: Iova;
  readonly lengthBytes: number;
  readonly access: Access;
}

/**
 * Copies and checks a request to map client memory. Overlap and quota are the address space's.
 *
 * @throws LessorError, of the first that applies: `MEMORY_NOT_SHMEM`, `MEMORY_UNSEALED`,
 *   `MEMORY_READ_ONLY`, `MEMORY_WRITE_SEALED`, `MEMORY_TOO_SMALL`, `IOVA_OUTSIDE_WINDOW`,
 *   `IOVA_UNALIGNED`, `QUOTA_EXCEEDED` over `limits.mapBytesMax`; before all, `INVALID_ARGUMENT`
 *   for what is no u64, and for a length of 0.
 */
export function checkMap(
  memory: Pick<MemoryOs, 'seals' | 'identity'>,
  request: MapRequest,
  rules: MapRules,
): CheckedMap {
  const { fd, access } = request;
  const offsetBytes = toU64(request.offsetBytes, 'offset');
  const iova = toU64(request.iova, 'iova');
  const lengthBytes = toU64(request.lengthBytes, 'length');
  if (lengthBytes === 0n) throw new LessorError('INVALID_ARGUMENT', 'length 0');
  const window =
    fd === undefined ? undefined : checkMemory(memory, fd, offsetBytes, lengthBytes, access, rules);
  checkIova(iova, lengthBytes, rules);
  const mask = BigInt(rules.pageBytes - 1);
  const offset = fd === undefined ? 0n : offsetBytes;
  if (((iova | lengthBytes | offset) & mask) !== 0n) {
    const detail = `iova ${hex(iova)}, length ${hex(lengthBytes)} or offset ${hex(offset)}`;
    throw new LessorError('IOVA_UNALIGNED', `${detail} is no multiple of ${rules.pageBytes}`);
  }
  if (lengthBytes > BigInt(limits.mapBytesMax)) {
    throw new LessorError('QUOTA_EXCEEDED', `a map of ${lengthBytes} bytes`);
  }
  return {
    fd,
    ...window,
    offsetBytes: Number(offset),
    iova: Number(iova) as Iova,
    lengthBytes: Number(lengthBytes),
    access,
  };
}

function checkMemory(
  memory: Pick<MemoryOs, 'seals' | 'identity'>,
  fd: Fd,
  offsetBytes: bigint,
  lengthBytes: bigint,
  access: Access,
  rules: MapRules,
): Pick<DmaMemory, 'fd' | 'window'> | undefined {
  // First: it cannot hang, and fstat on a foreign file system can.
  const seals = sealsOf(memory, fd);
  if (seals === undefined) {
    const target = rules.windowOfFile?.(fd, access);
    if (target !== undefined) return windowAt(target, offsetBytes + lengthBytes);
    throw new LessorError('MEMORY_NOT_SHMEM', 'the descriptor is no memfd');
  }
  const identity = memory.identity(fd);
  const target = rules.windowOf?.(identity, access);
  if (target !== undefined) return windowAt(target, offsetBytes + lengthBytes);
  if ((seals & F_SEAL_SHRINK) === 0 && !rules.allowUnsealedMemory) {
    throw new LessorError('MEMORY_UNSEALED', 'the memory can be truncated');
  }
  const isWritten = access !== 'read';
  checkMode(identity, access);
  if (isWritten && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) !== 0) {
    throw new LessorError('MEMORY_WRITE_SEALED', 'the memory is sealed against writing');
  }
  checkEnd(offsetBytes + lengthBytes, identity.lengthBytes);
  return undefined;
}

function windowAt(target: WindowTarget, end: bigint): Pick<DmaMemory, 'fd' | 'window'> {
  checkEnd(end, target.lengthBytes);
  return { fd: target.fd, ...(target.window && { window: target.window }) };
}

function checkEnd(end: bigint, lengthBytes: number): void {
  if (end <= BigInt(lengthBytes)) return;
  throw new LessorError('MEMORY_TOO_SMALL', `the range ends at byte ${end} of ${lengthBytes}`);
}

/** The descriptor admits what the device wants. @throws LessorError `MEMORY_READ_ONLY` */
export function checkMode(identity: MemoryIdentity, access: Access): void {
  if (admits(identity.access, access !== 'read')) return;
  const detail = `the descriptor is open for "${identity.access}", the device wants "${access}"`;
  throw new LessorError('MEMORY_READ_ONLY', detail);
}

/** Undefined for what is no memory. */
function sealsOf(memory: Pick<MemoryOs, 'seals'>, fd: Fd): number | undefined {
  try {
    return memory.seals(fd);
  } catch (error) {
    if (isOsError(error, 'EINVAL')) return undefined;
    if (!isOsError(error)) throw error;
    throw new LessorError('MEMORY_NOT_SHMEM', 'the descriptor is no memfd', { cause: error });
  }
}

/** A mapping of any kind needs reading; a writable one both. */
function admits(mode: MemoryIdentity['access'], isWritten: boolean): boolean {
  return mode === 'read-write' || (mode === 'read' && !isWritten);
}

function checkIova(iova: bigint, lengthBytes: bigint, rules: MapRules): void {
  const { start, end } = rules.window;
  // Exact integers: nothing wraps.
  if (iova >= BigInt(start) && iova + lengthBytes <= BigInt(end)) return;
  const range = `${hex(iova)} + ${hex(lengthBytes)}`;
  const detail = `${range} is not inside [${hex(start)}, ${hex(end)})`;
  throw new LessorError('IOVA_OUTSIDE_WINDOW', detail);
}

function toU64(value: number | bigint, what: string): bigint {
  const isWhole = typeof value === 'bigint' || Number.isSafeInteger(value);
  const exact = isWhole ? BigInt(value) : -1n;
  if (exact < 0n || exact > 0xffff_ffff_ffff_ffffn) {
    throw new LessorError('INVALID_ARGUMENT', `${what} ${value} is no u64`);
  }
  return exact;
}
