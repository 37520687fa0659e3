// The four kinds of error. One table feeds types, wire errnos, CLI exit codes and docs.
import type { Errno } from './errno.js';
import { type ErrorCode, errorTable } from './error-table.js';

export type { ErrorCode } from './error-table.js';
export { errorTable } from './error-table.js';

/** An expected failure that a client, peer or operator can act on. Match on `code`. */
export class LessorError extends Error {
  override readonly name = 'LessorError';
  readonly code: ErrorCode;
  readonly errno: Errno;
  readonly hint: string;
  /** True when the same call may succeed later without any change by the caller. */
  readonly retry: boolean;

  /**
   * @param code - A key of `errorTable`; decides errno, hint and exit code.
   * @param detail - What happened here, as a clause without a final stop.
   */
  constructor(code: ErrorCode, detail: string, options?: { cause?: unknown; hint?: string }) {
    super(detail, options?.cause === undefined ? undefined : { cause: options.cause });
    const row = errorTable[code];
    this.code = code;
    this.errno = row.errno;
    this.hint = options?.hint ?? row.hint;
    this.retry = row.retry;
  }
}

/** The peer broke a wire format. Whether that closes the connection is the protocol's rule. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  /** Struct and field, for example `vfio_user_header.size`. */
  readonly field: string;
  /** Byte offset of the field in the message. */
  readonly offsetBytes: number;
  readonly errno: Errno;

  constructor(
    field: string,
    offsetBytes: number,
    detail: string,
    options?: { errno?: Errno; cause?: unknown },
  ) {
    super(
      `${field} at byte ${offsetBytes}: ${detail}`,
      options?.cause === undefined ? undefined : { cause: options.cause },
    );
    this.field = field;
    this.offsetBytes = offsetBytes;
    this.errno = options?.errno ?? 'EINVAL';
  }
}

/** A system call (or an emulated one) failed. */
export class OsError extends Error {
  override readonly name = 'OsError';
  readonly errno: Errno;
  readonly syscall: string;

  constructor(errno: Errno, syscall: string, detail = '') {
    super(`${syscall}${detail === '' ? '' : ` ${detail}`}: ${errno}`);
    this.errno = errno;
    this.syscall = syscall;
  }
}

/** Our own bug: something we guarantee did not hold. Never caught on purpose. */
export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure';
}

/** Throws `AssertionFailure` unless `condition` holds. For our own guarantees only. */
export function assert(condition: unknown, detail: string): asserts condition {
  if (!condition) throw new AssertionFailure(detail);
}

/** For exhaustive switches. */
export function unreachable(value: never): never {
  throw new AssertionFailure(`unreachable: ${String(value)}`);
}

function hasName(error: unknown, name: string): boolean {
  return error instanceof Error && error.name === name;
}

/** True for a `LessorError` (of `code`, when given), also from another copy of the package. */
export function isLessorError(error: unknown, code?: ErrorCode): error is LessorError {
  return (
    hasName(error, 'LessorError') && (code === undefined || (error as LessorError).code === code)
  );
}

/** True for an `OsError` (of `errno`, when given). */
export function isOsError(error: unknown, errno?: Errno): error is OsError {
  return hasName(error, 'OsError') && (errno === undefined || (error as OsError).errno === errno);
}

/** True for a `ProtocolError`. */
export function isProtocolError(error: unknown): error is ProtocolError {
  return hasName(error, 'ProtocolError');
}

/** The errno to answer with for an expected error; undefined for our own bugs. */
export function errnoOf(error: unknown): Errno | undefined {
  if (isLessorError(error) || isOsError(error) || isProtocolError(error)) return error.errno;
  return undefined;
}
