// Becoming another program: what Node changed about this process is undone first.
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { delimiter, resolve } from 'node:path';
import type { Errno } from '../base/errno.js';
import { assert, OsError } from '../base/errors.js';
import { closeAll, Fd, type FdCalls } from './fd.js';
import type { ProcessCalls } from './native-processes.js';
import { checkResult } from './native-result.js';
import type { ExecRequest } from './process-types.js';

/** First descriptor after standard input, output and error. */
const firstPassedFd = 3;

// asm-generic/fcntl.h
const F_DUPFD_CLOEXEC = 1030;
const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

/** What programs expect that never asked for more: they may still use select(2). */
const softFileLimitDefault = 1024;

/** Where execvp looks when there is no PATH. */
const pathDefault = '/usr/local/bin:/usr/bin:/bin';

function errnoOfExecutable(path: string): Errno | undefined {
  try {
    if (!statSync(path).isFile()) return 'EACCES';
    accessSync(path, constants.X_OK);
    return undefined;
  } catch (error) {
    return (error as { code: Errno }).code;
  }
}

/**
 * Finds a command as a shell does: a name with a slash is a path, others are looked for in PATH.
 *
 * @param environment - Its PATH counts, not that of this process.
 * @returns An absolute path of an executable file.
 * @throws OsError `ENOENT`, or `EACCES` when all that was found cannot be executed.
 */
export function resolveInPath(
  name: string,
  environment: Readonly<Record<string, string | undefined>>,
): string {
  const folders = name.includes('/') ? [''] : (environment.PATH ?? pathDefault).split(delimiter);
  let worst: Errno = 'ENOENT';
  for (const folder of folders) {
    if (name === '') break;
    const path = resolve(folder, name);
    const errno = errnoOfExecutable(path);
    if (errno === undefined) return path;
    if (errno !== 'ENOENT' && errno !== 'ENOTDIR') worst = 'EACCES';
  }
  throw new OsError(worst, 'execve', name);
}

/**
 * The soft limit on descriptors that this process was started with: Node raises it to the hard
 * one and keeps no record, but the parent usually has the same.
 */
export function originalFileLimit(parentLimits: string, nowSoft: number): number {
  const line = /^Max open files\s+(\d+)\s/m.exec(parentLimits);
  const parentSoft = line === null ? softFileLimitDefault : Number(line[1]);
  return Math.min(parentSoft, nowSoft);
}

function readParentLimits(): string {
  try {
    return readFileSync(`/proc/${process.ppid}/limits`, 'latin1');
  } catch {
    return '';
  }
}

type Calls = FdCalls & ProcessCalls;

/** Copies above the range they are to land in, so that none overwrites another. */
function copyHigh(calls: Calls, fds: readonly Fd[]): Fd[] {
  const copies: Fd[] = [];
  try {
    for (const fd of fds) {
      const copy = calls.fcntl(fd.number, F_DUPFD_CLOEXEC, firstPassedFd + fds.length);
      copies.push(new Fd(calls, checkResult(copy, 'fcntl', 'F_DUPFD_CLOEXEC')));
    }
    return copies;
  } catch (error) {
    closeAll(copies);
    throw error;
  } finally {
    closeAll(fds);
  }
}

function restoreStandardStreams(calls: Calls): void {
  for (let fd = 0; fd < firstPassedFd; fd++) {
    const flags = calls.fcntl(fd, F_GETFL, 0);
    if (flags < 0) continue;
    checkResult(calls.fcntl(fd, F_SETFD, 0), 'fcntl', 'F_SETFD');
    checkResult(calls.fcntl(fd, F_SETFL, flags & ~O_NONBLOCK), 'fcntl', 'F_SETFL');
  }
}

/** Implements `ProcessOs.exec`. */
export function exec(calls: Calls, request: ExecRequest): never {
  const errno = errnoOfExecutable(request.path);
  if (errno !== undefined) {
    closeAll(request.fds);
    throw new OsError(errno, 'execve', request.path);
  }
  const copies = copyHigh(calls, request.fds);
  restoreStandardStreams(calls);
  const softLimit = originalFileLimit(readParentLimits(), calls.getFileLimit());
  // From here on descriptors of the event loop are overwritten: no way back but to exit.
  copies.forEach((copy, index) => {
    checkResult(calls.dup3(copy.number, firstPassedFd + index, 0), 'dup3');
  });
  checkResult(calls.setFileLimit(softLimit), 'setrlimit', 'RLIMIT_NOFILE');
  checkResult(calls.resetSignals(), 'sigprocmask');
  const environment = Object.entries(request.environment).map(
    ([name, value]) => `${name}=${value}`,
  );
  const result = calls.execve(request.path, request.argv, environment);
  assert(result < 0, 'execve does not return on success');
  checkResult(result, 'execve', request.path);
  throw new OsError('EIO', 'execve', request.path);
}
