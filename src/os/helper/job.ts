// One operation on its way through the pool.
import type { Clock } from '../../base/clock.js';
import { LessorError } from '../../base/errors.js';
import { closeAll, type Fd } from '../fd.js';
import type { HelperTerms } from '../helper-types.js';
import type { HelperReply } from './helper-process.js';
import type { HelperRequest } from './protocol.js';

export class Job {
  readonly request: HelperRequest;
  /** The caller's; it may be closed while the job waits. */
  readonly fd: Fd;
  readonly uid: number;
  readonly result: Promise<HelperReply>;
  /** Given to another helper after the first one ended. */
  wasRetried = false;
  readonly #timer: Disposable;
  #resolve: (reply: HelperReply) => void = () => {};
  #reject: (error: Error) => void = () => {};
  #settled = false;

  /** @param onDeadline - Called once unless `finish` came before, after the caller was told. */
  constructor(
    clock: Clock,
    request: HelperRequest,
    fd: Fd,
    terms: HelperTerms,
    onDeadline: () => void,
  ) {
    this.request = request;
    this.fd = fd;
    this.uid = terms.uid;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#timer = clock.after(terms.deadlineMs, () => {
      const detail = `${request.operation} took longer than ${terms.deadlineMs} ms`;
      this.reject(new LessorError('DEADLINE_EXCEEDED', detail));
      onDeadline();
    });
  }

  get isSettled(): boolean {
    return this.#settled;
  }

  /** True when doing it twice is the same as doing it once. */
  get isRepeatable(): boolean {
    return this.request.operation === 'truncate' || this.request.operation === 'seal';
  }

  /** Tells the caller, who owns the reply's descriptors from then on. */
  resolve(reply: HelperReply): void {
    if (this.#settled) {
      closeAll(reply.fds);
      return;
    }
    this.#settled = true;
    this.#resolve(reply);
  }

  /** Tells the caller, unless it was told before. */
  reject(error: Error): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#reject(error);
  }

  /** The deadline does not count any more. */
  finish(): void {
    this.#timer[Symbol.dispose]();
  }
}
