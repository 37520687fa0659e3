// One broker per socket path: finds out whether the one that made it still lives.
import { rmSync } from 'node:fs';
import { isOsError, LessorError } from '../base/errors.js';
import type { Os } from '../os/os-types.js';

/**
 * Makes room for a listening socket at `path`, which removes its file itself when it closes.
 *
 * @throws LessorError `BROKER_RUNNING` when another broker answers there.
 */
export function claimSocketPath(os: Os, path: string): void {
  try {
    os.sockets.connect(path)[Symbol.dispose]();
  } catch (error) {
    if (isOsError(error, 'ENOENT')) return;
    if (!isOsError(error, 'ECONNREFUSED')) throw error;
    // Its broker is gone without having removed it.
    rmSync(path, { force: true });
    return;
  }
  throw new LessorError('BROKER_RUNNING', `a broker answers on ${path}`);
}
