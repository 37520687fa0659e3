// struct sockaddr_un as bytes.
import { LessorError } from '../base/errors.js';
import { AF_UNIX } from './socket-constants.js';

/** sun_path holds 108 bytes, one of them the terminator. */
export const socketPathBytesMax = 107;

/**
 * The address of a socket file.
 *
 * @param path - 1..107 bytes of UTF-8 without NUL.
 * @throws LessorError `INVALID_ARGUMENT`
 * @see linux/un.h `struct sockaddr_un`
 */
export function unixAddress(path: string): Uint8Array {
  const bytes = new TextEncoder().encode(path);
  if (bytes.length > socketPathBytesMax) {
    const detail = `socket path ${path} has ${bytes.length} bytes, at most ${socketPathBytesMax}`;
    throw new LessorError('INVALID_ARGUMENT', detail, { hint: 'choose a shorter directory' });
  }
  if (bytes.length === 0 || bytes.includes(0)) {
    throw new LessorError('INVALID_ARGUMENT', 'a socket path is not empty and holds no NUL');
  }
  const address = new Uint8Array(2 + bytes.length + 1);
  new Uint16Array(address.buffer, 0, 1)[0] = AF_UNIX;
  address.set(bytes, 2);
  return address;
}
