// Makes room for a listening socket: finds out whether the process that made its file still lives.
import { existsSync, lstatSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { isOsError, LessorError } from '../base/errors.js';
import type { SocketOs } from './socket-types.js';

/**
 * Removes the file of a listening socket whose process is gone.
 *
 * @returns False when somebody listens there.
 * @throws LessorError `INVALID_ARGUMENT` when the path cannot be one of a socket, its folder is
 *   missing or something else than a socket stands there; OsError of connect.
 */
export function claimSocketPath(sockets: Pick<SocketOs, 'connect'>, path: string): boolean {
  try {
    sockets.connect(path)[Symbol.dispose]();
  } catch (error) {
    if (isOsError(error, 'ENOENT')) {
      const folder = dirname(path);
      if (existsSync(folder)) return true;
      throw new LessorError('INVALID_ARGUMENT', `there is no folder ${folder}`, {
        hint: 'make it first, or choose another path',
      });
    }
    if (!isOsError(error, 'ECONNREFUSED')) throw error;
    // A file of any kind refuses a connection.
    if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === false) {
      throw new LessorError('INVALID_ARGUMENT', `${path} is not a socket`, {
        hint: 'remove it if nobody needs it, or choose another path',
      });
    }
    rmSync(path, { force: true });
    return true;
  }
  return false;
}
