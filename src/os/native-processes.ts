// What native/addon/processes.c offers, call by call. Results below zero are -errno.

export interface ProcessCalls {
  pidfdOpen(pid: number): number;
  pidfdSendSignal(pidfd: number, signal: number): number;
  /** prctl PR_SET_DUMPABLE. */
  setDumpable(dumpable: boolean): number;
  fcntl(fd: number, command: number, argument: number): number;
  dup3(from: number, to: number, flags: number): number;
  /** Soft RLIMIT_NOFILE. */
  getFileLimit(): number;
  /** Sets the soft RLIMIT_NOFILE; the hard one stays. */
  setFileLimit(soft: number): number;
  /** Every signal to its default disposition, none blocked. */
  resetSignals(): number;
  /** Returns only on failure. `environment` is `NAME=value`. */
  execve(path: string, argv: readonly string[], environment: readonly string[]): number;
  /** _exit: nothing is cleaned up. */
  exitNow(status: number): never;
}
