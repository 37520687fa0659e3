// The socket that carries commands of the server and their replies, where both sides want one.
import { LessorError, ProtocolError } from '../base/errors.js';
import { closeAll, type Fd } from '../os/fd.js';
import type { SocketOs, StreamSocket } from '../os/socket-types.js';
import type { Version } from './version.js';

export interface TwinSockets {
  readonly ours: StreamSocket;
  /** Goes to the client with the reply to VERSION. */
  readonly theirs: Fd;
}

/** @throws OsError of socketpair. */
export function openTwin(sockets: Pick<SocketOs, 'pair' | 'stream'>): TwinSockets {
  const [ours, theirs] = sockets.pair();
  return { ours: sockets.stream(ours), theirs };
}

/**
 * The client's end of the twin socket, out of the reply to VERSION; undefined when the server has
 * none to give. The other descriptors are closed.
 *
 * @param isAsked - We proposed one.
 * @throws ProtocolError for a reply that contradicts itself or our question, LessorError
 *   `FD_UNEXPECTED` for descriptors without a twin socket. `fds` stay the caller's then.
 */
export function takeTwin(version: Version, fds: readonly Fd[], isAsked: boolean): Fd | undefined {
  const { capabilities, twinFdIndex } = version;
  if (!capabilities.twinSocket) {
    if (fds.length === 0) return undefined;
    throw new LessorError('FD_UNEXPECTED', 'descriptors came with VERSION');
  }
  const twin = isAsked && twinFdIndex !== undefined ? fds[twinFdIndex] : undefined;
  if (twin === undefined) {
    const detail = `a twin socket at descriptor ${twinFdIndex} of ${fds.length}`;
    throw new ProtocolError('vfio_user_version.json', 4, detail);
  }
  closeAll(fds.filter((fd) => fd !== twin));
  return twin;
}
