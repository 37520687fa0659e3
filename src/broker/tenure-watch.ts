// Joins one lease to the signs of its holder's end: process, control connection, time.
import {
  endsTenure,
  expiresWallMs,
  type HolderSign,
  renewTenure,
  startTenure,
  type Tenure,
  tenureTimerMs,
} from '../lease/tenure.js';
import type { Fd } from '../os/fd.js';
import type { Os } from '../os/os-types.js';
import type { BrokerLease } from './lease.js';

export class TenureWatch implements Disposable {
  readonly #os: Os;
  readonly #lease: BrokerLease;
  readonly #acquirer: Fd | undefined;
  readonly #watch: Disposable | undefined;
  #tenure: Tenure;
  #timer: Disposable | undefined;

  /**
   * @param acquirer - Pidfd of the process at the other end of the control connection. Owned.
   */
  constructor(os: Os, lease: BrokerLease, acquirer: Fd | undefined) {
    const { terms } = lease;
    this.#os = os;
    this.#lease = lease;
    this.#acquirer = acquirer;
    this.#tenure = startTenure(terms.holder, os.clock.nowMs(), terms.ttlMs, terms.ttlMsMax);
    if (acquirer !== undefined && endsTenure(this.#tenure, 'processGone')) {
      this.#watch = os.processes.onExit(acquirer, () => this.sign('processGone'));
    }
    this.#arm();
  }

  /** When the lease expires, in wall milliseconds. */
  get expiresMs(): number | undefined {
    const { clock } = this.#os;
    return expiresWallMs(this.#tenure, clock.nowMs(), clock.wallMs());
  }

  /** True when `pidfd` names the process that acquired the lease. */
  isAcquirer(pidfd: Fd): boolean {
    return this.#acquirer !== undefined && this.#os.processes.isSameProcess(this.#acquirer, pidfd);
  }

  /** A sign of the holder's end was seen. */
  sign(sign: HolderSign): void {
    if (endsTenure(this.#tenure, sign)) this.#lease.dispatch({ type: 'holderGone' });
  }

  /** @throws LessorError `INVALID_ARGUMENT` */
  renew(ttlMs: number): void {
    this.#tenure = renewTenure(this.#tenure, this.#os.clock.nowMs(), ttlMs);
    this.#arm();
  }

  #arm(): void {
    this.#timer?.[Symbol.dispose]();
    const { clock } = this.#os;
    const delayMs = tenureTimerMs(this.#tenure, clock.nowMs());
    if (delayMs === undefined) return;
    this.#timer = clock.after(delayMs, () => {
      if (tenureTimerMs(this.#tenure, clock.nowMs()) === 0)
        this.#lease.dispatch({ type: 'expire' });
      else this.#arm();
    });
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#watch?.[Symbol.dispose]();
    this.#acquirer?.close();
  }
}
