// One broker per socket path: finds out whether the one that made it still lives.
import { lstatSync, rmSync } from 'node:fs';
import { isOsError, LessorError } from '../base/errors.js';
import type { Os } from '../os/os-types.js';

/**
 * Makes room for a listening socket at `path`: removes the file of a broker that is gone.
 *
 * @throws LessorError `BROKER_RUNNING` when another broker answers there, `INVALID_ARGUMENT` when
 *   something else than a socket stands there; OsError of connect.
 */
export function claimSocketPath(os: Os, path: string): void {
  try {
    os.sockets.connect(path)[Symbol.dispose]();
  } catch (error) {
    if (isOsError(error, 'ENOENT')) return;
    if (!isOsError(error, 'ECONNREFUSED')) throw error;
    // A file of any kind refuses a connection.
    if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === false) {
      throw new LessorError('INVALID_ARGUMENT', `${path} is not a socket`);
    }
    rmSync(path, { force: true });
    return;
  }
  throw new LessorError('BROKER_RUNNING', `a broker answers on ${path}`);
}
