// What helper processes do to the memory of one window, for as long as it takes them.
import { isLessorError, isOsError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { Fd } from '../os/fd.js';
import type { HelperPool } from '../os/helper-types.js';
import { sealWindow } from './window-seals.js';

export interface WindowHelpersParts {
  readonly helpers: HelperPool;
  /** The window's memory, open for writing. Stays the caller's, to close once `settled`. */
  readonly fd: Fd;
  readonly lengthBytes: number;
  readonly uid: number;
  readonly log: Logger;
}

export class WindowHelpers {
  readonly #parts: WindowHelpersParts;
  /** Operations under way: they need the descriptor. */
  readonly #running = new Set<Promise<unknown>>();

  constructor(parts: WindowHelpersParts) {
    this.#parts = parts;
  }

  /** Seals the memory as that of a connected window. @see sealWindow */
  seal(): Promise<void> {
    const { helpers, fd, lengthBytes, uid } = this.#parts;
    return this.#run(sealWindow(helpers, fd, lengthBytes, uid));
  }

  /**
   * Truncates the memory, after the cut: whoever maps it has nothing there any more.
   *
   * @returns `orphan` when it could not be done in time: the bytes stay with the holder, inert.
   */
  async zap(deadlineMs: number): Promise<'gone' | 'orphan'> {
    const { helpers, fd, uid, log } = this.#parts;
    try {
      await this.#run(helpers.truncate(fd, 0, { uid, deadlineMs }));
      return 'gone';
    } catch (error) {
      // The cut was made; what the holder keeps reaches nobody.
      if (!isLessorError(error) && !isOsError(error)) throw error;
      log.warn('window left to its holder', { uid, reason: error.message });
      return 'orphan';
    }
  }

  /** Resolves when no helper has anything to do with the memory any more. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  async #run<T>(operation: Promise<T>): Promise<T> {
    this.#running.add(operation);
    try {
      return await operation;
    } finally {
      this.#running.delete(operation);
    }
  }
}
