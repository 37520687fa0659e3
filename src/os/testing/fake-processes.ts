// Processes that exist by name only. They are gone when `kernel.exit` says so.
import { assert, OsError } from '../../base/errors.js';
import { closeAll, type Fd } from '../fd.js';
import { pollEvents } from '../native-sockets.js';
import type { ExecRequest, ProcessOs } from '../process-types.js';
import { Readiness } from '../readiness.js';
import type { FakeKernel } from './fake-kernel.js';

export interface FakeSignal {
  readonly pid: number;
  readonly signal: number;
}

export class FakeProcesses implements ProcessOs {
  readonly pid: number;
  readonly uid: number;
  /** What `signal` sent, in order. Nobody acts on it. */
  readonly signals: FakeSignal[] = [];
  isDumpable = true;
  readonly #kernel: FakeKernel;

  constructor(kernel: FakeKernel) {
    this.#kernel = kernel;
    this.pid = kernel.identity.pid;
    this.uid = kernel.identity.uid;
  }

  /** Every process id exists that was not said to be gone. */
  openPidfd(pid: number): Fd {
    if (this.#kernel.exited.has(pid)) throw new OsError('ESRCH', 'pidfd_open', `${pid}`);
    return this.#kernel.create('pidfd', pid);
  }

  onExit(pidfd: Fd, callback: () => void): Disposable {
    const readiness = new Readiness(this.#kernel, pidfd.number, () => {
      readiness[Symbol.dispose]();
      callback();
    });
    readiness.want(pollEvents.readable);
    return readiness;
  }

  signal(pidfd: Fd, signal: number): void {
    const pid = this.#pid(pidfd);
    if (this.#kernel.exited.has(pid)) throw new OsError('ESRCH', 'pidfd_send_signal');
    this.signals.push({ pid, signal });
  }

  pidOf(pidfd: Fd): number | undefined {
    const pid = this.#pid(pidfd);
    return this.#kernel.exited.has(pid) ? undefined : pid;
  }

  isSameProcess(one: Fd, other: Fd): boolean {
    return this.#pid(one) === this.#pid(other);
  }

  setDumpable(dumpable: boolean): void {
    this.isDumpable = dumpable;
  }

  exec(request: ExecRequest): never {
    closeAll(request.fds);
    throw new OsError('ENOSYS', 'execve', request.path);
  }

  exitNow(status: number): never {
    throw new OsError('ENOSYS', 'exit', String(status));
  }

  #pid(pidfd: Fd): number {
    const file = this.#kernel.file(pidfd.number);
    assert(file?.kind === 'pidfd', 'a pidfd of the same fake kernel');
    return file.label;
  }
}
