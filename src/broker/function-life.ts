// Reset and loss of the function: every lease goes with it, every quarantine ends with it.
import { isLessorError, LessorError } from '../base/errors.js';
import type { RunningDriver } from '../driver/types.js';
import type { BrokerContext } from './context.js';
import type { Granter } from './granter.js';
import { inTime } from './in-time.js';
import type { LeaseBook } from './lease-book.js';

export interface FunctionLifeOptions {
  readonly context: BrokerContext;
  readonly driver: RunningDriver;
  readonly book: LeaseBook;
  readonly granter: Granter;
  /** Called with the new epoch before any lease can be granted under it. */
  readonly onEpoch: () => void;
}

export class FunctionLife {
  readonly #options: FunctionLifeOptions;
  #resetting: Promise<number> | undefined;
  #gone: string | undefined;
  #away: string | undefined;

  constructor(options: FunctionLifeOptions) {
    this.#options = options;
  }

  /** Why the function is gone; undefined while it is there. */
  get gone(): string | undefined {
    return this.#gone;
  }

  /**
   * Reclaims every lease, resets the function, brings the driver up again and frees what was in
   * quarantine. A second call joins the first.
   *
   * @returns The new epoch.
   * @throws LessorError `FUNCTION_GONE` when the function does not come back; `SERVER_GONE` while
   *   it is away.
   */
  reset(reason: string): Promise<number> {
    this.#resetting ??= this.#reset(reason).finally(() => {
      this.#resetting = undefined;
    });
    return this.#resetting;
  }

  /**
   * The server of the function died. Every lease ends as if the function were gone: there is
   * nothing to quiesce, its slice goes into quarantine. No lease is given until `comeBack`.
   */
  leave(detail: string): void {
    if (this.#gone !== undefined || this.#away !== undefined) return;
    this.#away = detail;
    const { context, book, granter } = this.#options;
    granter.hold(true);
    context.hub.publish({ type: 'away', reason: detail });
    for (const lease of book.live) lease.dispatch({ type: 'functionGone' });
  }

  /**
   * The same device is served again. It is reset like one that never left: what its new server
   * did before is not known. That ends the quarantines.
   */
  async comeBack(detail: string): Promise<void> {
    if (this.#gone !== undefined) return;
    this.#away = undefined;
    // One that was under way when the server died has failed, or will.
    await this.#resetting?.catch(() => undefined);
    if (this.#away !== undefined) return;
    await this.reset(detail);
  }

  /** The function vanished: nothing is left to quiesce. */
  lose(detail: string): void {
    if (this.#gone !== undefined) return;
    this.#gone = detail;
    const { context, book, granter } = this.#options;
    granter.lose(detail);
    context.log.error('the function is gone', { detail });
    context.hub.publish({ type: 'gone', reason: detail });
    for (const lease of book.live) lease.dispatch({ type: 'functionGone' });
  }

  async #reset(reason: string): Promise<number> {
    const { context, driver, book, granter, onEpoch } = this.#options;
    const { os, deadlines, hub, log } = context;
    if (this.#gone !== undefined) throw new LessorError('FUNCTION_GONE', this.#gone);
    if (this.#away !== undefined) throw new LessorError('SERVER_GONE', this.#away);
    log.warn('function reset', { reason });
    granter.hold(true);
    hub.publish({ type: 'resetting', reason });
    const leases = book.live;
    for (const lease of leases) lease.dispatch({ type: 'functionReset' });
    await Promise.all(leases.map((lease) => lease.settled));
    const done = await inTime(os.clock, deadlines.resetFunctionMs, async (signal) => {
      await this.#resetHard(signal);
      await driver.restart();
    });
    if (done.type !== 'done') {
      const why = done.type === 'timeout' ? 'the reset was not answered' : String(done.error);
      // It may come back: another reset will follow.
      if (this.#away !== undefined) throw new LessorError('SERVER_GONE', this.#away);
      this.lose(why);
      throw new LessorError('FUNCTION_GONE', why);
    }
    onEpoch();
    // Whoever still has the device itself has it after the reset, too.
    const idle = book.live.filter((lease) => !lease.resources.isHeld);
    for (const lease of idle) lease.dispatch({ type: 'quarantineReleased' });
    granter.hold(false);
    hub.publish({ type: 'reset', reason, outcome: `epoch ${context.epoch}` });
    return context.epoch;
  }

  /** Some functions have no reset; their driver may be able to do without. */
  async #resetHard(signal: AbortSignal): Promise<void> {
    const { context, driver } = this.#options;
    try {
      await context.fn.reset(signal);
    } catch (error) {
      const isMissing = isLessorError(error) && error.code === 'UNSUPPORTED';
      if (!isMissing || driver.restartsUnreset !== true) throw error;
      context.log.warn('the driver restarts without a reset', { detail: error.message });
    }
  }
}
