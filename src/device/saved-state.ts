// How a device lays out what `DeviceMigration.save` gives: a header that says what it is, then its
// fields. What `load` takes is hostile.
import { isProtocolError, LessorError } from '../base/errors.js';
import type { Struct } from '../uapi/struct.js';

/** The first two fields of every saved state, both u32. */
export interface StateHeader {
  /** Which device; four letters. */
  readonly magic: number;
  /** Which layout of its fields. */
  readonly version: number;
}

/**
 * A saved state whose bytes are well formed; whether its values fit each other is the device's
 * to check.
 *
 * @throws LessorError `INVALID_ARGUMENT` for another length, device, version or reserved bit.
 */
export function loadState<T extends StateHeader>(
  codec: Struct<T>,
  expected: StateHeader,
  state: Uint8Array,
): T {
  let value: T;
  try {
    value = codec.decode(state);
  } catch (error) {
    if (!isProtocolError(error)) throw error;
    throw new LessorError('INVALID_ARGUMENT', error.message, { cause: error });
  }
  const { magic, version } = value;
  if (magic !== expected.magic || version !== expected.version) {
    throw new LessorError('INVALID_ARGUMENT', `${codec.name}: of another device or version`);
  }
  return value;
}
