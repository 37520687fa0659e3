// One broker per socket path.
import { LessorError } from '../base/errors.js';
import type { Os } from '../os/os-types.js';
import { claimSocketPath as claim } from '../os/socket-claim.js';

/**
 * Makes room for a listening socket at `path`: removes the file of a broker that is gone.
 *
 * @throws LessorError `BROKER_RUNNING` when another broker answers there, `INVALID_ARGUMENT` when
 *   its folder is missing or something else than a socket stands there; OsError of connect.
 */
export function claimSocketPath(os: Os, path: string): void {
  if (!claim(os.sockets, path)) {
    throw new LessorError('BROKER_RUNNING', `a broker answers on ${path}`);
  }
}
