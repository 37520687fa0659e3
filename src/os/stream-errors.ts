// What ends a stream because of its peer, apart from errors of the system calls.
import { ProtocolError } from '../base/errors.js';

export function fullError(what: string): ProtocolError {
  const detail = `the peer does not read: too many ${what} wait for it`;
  return new ProtocolError('socket.sendQueue', 0, detail, { errno: 'ENOBUFS' });
}

export function truncatedError(): ProtocolError {
  return new ProtocolError('socket.control', 0, 'descriptors were lost', { errno: 'EPROTO' });
}

export function surplusError(count: number | undefined, fdsMax: number): ProtocolError {
  const detail = `${count ?? 'unexpected'} descriptors, at most ${fdsMax}`;
  return new ProtocolError('socket.fds', 0, detail, { errno: 'EPROTO' });
}
