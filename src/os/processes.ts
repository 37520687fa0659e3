// Processes of the operating system, named by pidfd.
import { readFileSync, readlinkSync } from 'node:fs';
import { exec } from './exec.js';
import { Fd, type FdCalls } from './fd.js';
import type { ProcessCalls } from './native-processes.js';
import { checkResult } from './native-result.js';
import { type PollCalls, pollEvents } from './native-sockets.js';
import type { ExecRequest, ProcessOs } from './process-types.js';
import { Readiness } from './readiness.js';

export type ProcessOsCalls = FdCalls & ProcessCalls & PollCalls;

export class OsProcesses implements ProcessOs {
  readonly pid = process.pid;
  readonly uid = process.getuid?.() ?? 0;
  readonly #calls: ProcessOsCalls;

  constructor(calls: ProcessOsCalls) {
    this.#calls = calls;
  }

  openPidfd(pid: number): Fd {
    return new Fd(this.#calls, checkResult(this.#calls.pidfdOpen(pid), 'pidfd_open', `${pid}`));
  }

  onExit(pidfd: Fd, callback: () => void): Disposable {
    const readiness = new Readiness(this.#calls, pidfd.number, () => {
      readiness[Symbol.dispose]();
      callback();
    });
    readiness.want(pollEvents.readable);
    return readiness;
  }

  signal(pidfd: Fd, signal: number): void {
    checkResult(this.#calls.pidfdSendSignal(pidfd.number, signal), 'pidfd_send_signal');
  }

  pidOf(pidfd: Fd): number | undefined {
    const info = readFileSync(`/proc/self/fdinfo/${pidfd.number}`, 'latin1');
    const pid = Number(/^Pid:\s+(-?\d+)$/m.exec(info)?.[1] ?? -1);
    // -1: reaped. 0: lives in a PID namespace that cannot be seen from here.
    return pid > 0 ? pid : undefined;
  }

  isSameProcess(one: Fd, other: Fd): boolean {
    const [oneName, otherName] = [one, other].map((fd) =>
      readlinkSync(`/proc/self/fd/${fd.number}`),
    );
    // From Linux 6.9 on the name holds the inode number, which is never used twice.
    if (oneName?.startsWith('pidfd:[')) return oneName === otherName;
    const pid = this.pidOf(one);
    return pid !== undefined && pid === this.pidOf(other);
  }

  setDumpable(dumpable: boolean): void {
    checkResult(this.#calls.setDumpable(dumpable), 'prctl', 'PR_SET_DUMPABLE');
  }

  exec(request: ExecRequest): never {
    return exec(this.#calls, request);
  }

  exitNow(status: number): never {
    return this.#calls.exitNow(status);
  }
}
