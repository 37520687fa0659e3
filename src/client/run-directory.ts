// Where the sockets of brokers are: $LESSOR_SOCKET, or one folder per user, or /run/lessor.
import { lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { LessorError } from '../base/errors.js';

export type Environment = Readonly<Record<string, string | undefined>>;

const controlEnding = '.sock';
const adminEnding = '.admin.sock';
const systemDirectory = '/run/lessor';

/** The folder in which a broker of this user makes its sockets. */
export function ownRunDirectory(environment: Environment, uid: number): string {
  if (environment.LESSOR_RUN_DIR) return environment.LESSOR_RUN_DIR;
  if (uid === 0) return systemDirectory;
  if (environment.XDG_RUNTIME_DIR) return join(environment.XDG_RUNTIME_DIR, 'lessor');
  return `/tmp/lessor-${uid}`;
}

/** The admin socket that belongs to a control socket. */
export function adminPathOf(controlPath: string): string {
  const stem = controlPath.endsWith(controlEnding)
    ? controlPath.slice(0, -controlEnding.length)
    : controlPath;
  return `${stem}${adminEnding}`;
}

/**
 * Makes the folder for sockets, mode 0755, and checks that nobody else can put files into it.
 *
 * @throws LessorError `DENIED` when the folder is another user's or writable by others.
 */
export function makeRunDirectory(path: string, uid: number): void {
  mkdirSync(path, { recursive: true, mode: 0o755 });
  const status = lstatSync(path);
  if (!status.isDirectory() || status.uid !== uid || (status.mode & 0o022) !== 0) {
    throw new LessorError('DENIED', `${path} is not a folder that only uid ${uid} can write`, {
      hint: 'remove it, or set LESSOR_RUN_DIR to a folder of your own',
    });
  }
}

function socketsIn(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => name.endsWith(controlEnding) && !name.endsWith(adminEnding))
      .sort()
      .map((name) => join(directory, name));
  } catch {
    return [];
  }
}

/**
 * The control socket to use: `explicit`, else $LESSOR_SOCKET, else the only one found in the run
 * directories.
 *
 * @throws LessorError `BROKER_NOT_FOUND`, or `BROKER_AMBIGUOUS` naming all that were found.
 */
export function findControlSocket(
  explicit: string | undefined,
  environment: Environment,
  uid: number,
): string {
  const named = explicit ?? environment.LESSOR_SOCKET;
  if (named !== undefined && named !== '') return named;
  const directories = environment.LESSOR_RUN_DIR
    ? [environment.LESSOR_RUN_DIR]
    : [...new Set([ownRunDirectory(environment, uid), systemDirectory])];
  const found = directories.flatMap(socketsIn);
  const [only] = found;
  if (only === undefined) {
    throw new LessorError('BROKER_NOT_FOUND', `no broker socket in ${directories.join(' or ')}`);
  }
  if (found.length > 1) {
    throw new LessorError('BROKER_AMBIGUOUS', `several brokers: ${found.join(', ')}`);
  }
  return only;
}
