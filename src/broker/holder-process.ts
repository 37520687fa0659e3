// The process that has a whole device for as long as its lease lasts: ended by the broker to take
// the device back.
import { isOsError, LessorError } from '../base/errors.js';
import { Listeners } from '../base/listeners.js';
import type { Logger } from '../base/log.js';
import type { DeviceHolder } from '../function/types.js';
import type { Fd } from '../os/fd.js';
import type { Os } from '../os/os-types.js';
import type { Deadlines } from './options.js';

const SIGKILL = 9;

export interface HolderParts {
  readonly os: Pick<Os, 'processes' | 'clock'>;
  /** Of the process that acquired the lease. Not owned: the holder keeps a duplicate. */
  readonly pidfd: Fd;
  readonly deadlines: Pick<Deadlines, 'holderLeaveMs' | 'holderDieMs'>;
  readonly log: Logger;
}

/**
 * A process is dead once its pidfd says so: all of its threads have ended then, and the kernel has
 * closed and unmapped what was theirs.
 */
export class HolderProcess implements DeviceHolder, Disposable {
  readonly #parts: HolderParts;
  readonly #pidfd: Fd;
  readonly #watch: Disposable;
  readonly #death = new Listeners<void>();
  #hasDevice = false;
  #isDead = false;
  #isLeaving = false;
  #ending: Promise<void> | undefined;

  /** @throws OsError EMFILE */
  constructor(parts: HolderParts) {
    this.#parts = parts;
    this.#pidfd = parts.pidfd.duplicate();
    try {
      this.#watch = parts.os.processes.onExit(this.#pidfd, () => {
        this.#isDead = true;
        this.#death.emit();
      });
    } catch (error) {
      this.#pidfd.close();
      throw error;
    }
  }

  /** The device was, or may have been, handed to the process, which is not proved dead. */
  get isLive(): boolean {
    return this.#hasDevice && !this.#isDead;
  }

  /** The device is handed to the process now. */
  give(): void {
    this.#hasDevice = true;
  }

  /** The process gives its lease back: it may end by itself, for a moment. */
  letLeave(): void {
    this.#isLeaving = true;
  }

  end(): Promise<void> {
    if (!this.isLive) return Promise.resolve();
    this.#ending ??= this.#end().finally(() => {
      this.#ending = undefined;
    });
    return this.#ending;
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
    this.#pidfd.close();
  }

  async #end(): Promise<void> {
    const { deadlines, log } = this.#parts;
    if (this.#isLeaving && (await this.#diesWithin(deadlines.holderLeaveMs))) return;
    // Waiting a second time has no better reason than the first.
    this.#isLeaving = false;
    const died = this.#diesWithin(deadlines.holderDieMs);
    this.#kill();
    if (await died) return;
    log.error('a process that has a device does not die');
    throw new LessorError('DEADLINE_EXCEEDED', 'the process that has the device does not die');
  }

  #kill(): void {
    try {
      this.#parts.os.processes.signal(this.#pidfd, SIGKILL);
    } catch (error) {
      // Reaped already: its pidfd is about to say so. Any other leaves the deadline to speak.
      if (isOsError(error, 'ESRCH')) return;
      if (!isOsError(error)) throw error;
      this.#parts.log.error('a process that has a device cannot be killed', {
        why: error.message,
      });
    }
  }

  #diesWithin(ms: number): Promise<boolean> {
    if (this.#isDead) return Promise.resolve(true);
    return new Promise((resolve) => {
      const answer = (isDead: boolean): void => {
        timer[Symbol.dispose]();
        listening[Symbol.dispose]();
        resolve(isDead);
      };
      const timer = this.#parts.os.clock.after(ms, () => answer(false));
      const listening = this.#death.add(() => answer(true));
    });
  }
}
