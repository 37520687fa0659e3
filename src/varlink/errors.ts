// Errors on the wire: those that Varlink names itself, and ours.
import type { Errno } from '../base/errno.js';
import {
  type ErrorCode,
  errorTable,
  isLessorError,
  isOsError,
  isProtocolError,
  LessorError,
} from '../base/errors.js';
import { varlinkErrorName } from './interface.js';
import type { JsonObject, JsonValue } from './json.js';

/** An error of the interface org.varlink.service: about the call itself. */
export class StandardError extends Error {
  override readonly name = 'StandardError';
  /** Full name of the error. */
  readonly error: string;
  readonly parameters: Readonly<Record<string, string>>;

  constructor(name: string, parameters: Readonly<Record<string, string>>) {
    super(`${name} ${Object.values(parameters).join(' ')}`.trimEnd());
    this.error = `org.varlink.service.${name}`;
    this.parameters = parameters;
  }
}

/** A parameter is missing, unknown, of the wrong type or out of range. */
export function invalidParameter(parameter: string): StandardError {
  return new StandardError('InvalidParameter', { parameter });
}

/** The method answers only calls with `more`. */
export function expectedMore(): StandardError {
  return new StandardError('ExpectedMore', {});
}

export interface ErrorReply {
  readonly error: string;
  readonly parameters: Readonly<Record<string, JsonValue>>;
}

/** What goes with each of our errors. */
export const errorFields = ['code', 'errno', 'hint', 'detail'] as const;

/**
 * The reply for an expected error, named in the namespace of the method's interface.
 * Undefined for anything else: a bug of our own.
 */
export function toErrorReply(interfaceName: string, error: unknown): ErrorReply | undefined {
  if (error instanceof StandardError) return { error: error.error, parameters: error.parameters };
  if (isLessorError(error)) {
    const { code, errno, hint, message } = error;
    return ourReply(interfaceName, code, errno, hint, message);
  }
  if (isOsError(error)) {
    const { hint } = errorTable.SYSTEM_FAILED;
    return ourReply(interfaceName, 'SYSTEM_FAILED', error.errno, hint, error.message);
  }
  if (isProtocolError(error)) {
    const { hint } = errorTable.FRAME_MALFORMED;
    return ourReply(interfaceName, 'FRAME_MALFORMED', error.errno, hint, error.message);
  }
  return undefined;
}

function ourReply(
  interfaceName: string,
  code: ErrorCode,
  errno: Errno,
  hint: string,
  detail: string,
): ErrorReply {
  const error = varlinkErrorName(interfaceName, code);
  return { error, parameters: { code, errno, hint, detail } };
}

const standardCodes: Readonly<Record<string, ErrorCode>> = {
  'org.varlink.service.InvalidParameter': 'INVALID_ARGUMENT',
  'org.varlink.service.ExpectedMore': 'INVALID_ARGUMENT',
  'org.varlink.service.InterfaceNotFound': 'UNSUPPORTED',
  'org.varlink.service.MethodNotFound': 'UNSUPPORTED',
  'org.varlink.service.MethodNotImplemented': 'UNSUPPORTED',
  'org.varlink.service.PermissionDenied': 'DENIED',
};

function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(errorTable, code);
}

/** The error behind an error reply, for the caller. Ours keep their code, detail and hint. */
export function fromErrorReply(error: string, parameters: JsonObject): LessorError {
  const { code, detail, hint } = parameters;
  if (isErrorCode(code)) {
    const text = typeof detail === 'string' ? detail : error;
    return new LessorError(code, text, typeof hint === 'string' ? { hint } : {});
  }
  const standard = Object.hasOwn(standardCodes, error) ? standardCodes[error] : undefined;
  const about = Object.values(parameters).filter((value) => typeof value === 'string');
  const text = [error, ...about].join(' ');
  return new LessorError(standard ?? 'UNSUPPORTED', text);
}
