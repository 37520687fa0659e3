// Processes: identity, death, becoming another program.
import type { Fd } from './fd.js';

export interface ExecRequest {
  /** Absolute path, resolved before the lease is taken. */
  readonly path: string;
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Become descriptors 3, 4, ... of the new program. Ownership passes. */
  readonly fds: readonly Fd[];
}

export interface ProcessOs {
  readonly pid: number;
  readonly uid: number;
  /** pidfd_open. @throws OsError ESRCH */
  openPidfd(pid: number): Fd;
  /** Calls back once when the process is gone. Takes no ownership. */
  onExit(pidfd: Fd, callback: () => void): Disposable;
  /** pidfd_send_signal. @throws OsError ESRCH when it is gone. */
  signal(pidfd: Fd, signal: number): void;
  /** Pid behind a pidfd from /proc/self/fdinfo, or undefined when it is gone. */
  pidOf(pidfd: Fd): number | undefined;
  /** True when both pidfds name one process (fstat inode on pidfs, else the pid). */
  isSameProcess(one: Fd, other: Fd): boolean;
  /** PR_SET_DUMPABLE. */
  setDumpable(dumpable: boolean): void;
  /**
   * Turns this process into another program: descriptors 0-2 kept without CLOEXEC and O_NONBLOCK,
   * `fds` at 3.., default signals, original RLIMIT_NOFILE. Returns only on failure.
   *
   * @throws OsError of execve. Only `exitNow` is of use then: descriptors that the event loop needs
   *   were replaced.
   */
  exec(request: ExecRequest): never;
  /** Ends the process at once: no handler runs, nothing is flushed or cleaned up. */
  exitNow(status: number): never;
}
