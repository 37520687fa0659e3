// What must be ended in the reverse of the order in which it was begun, whatever fails meanwhile.
import { errnoOf } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';

export class Teardown {
  readonly #log: Logger;
  readonly #steps: { readonly name: string; readonly end: () => unknown }[] = [];
  #running: Promise<void> | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Adds what is ended before everything that was added so far. */
  add(name: string, end: () => unknown): void {
    this.#steps.push({ name, end });
  }

  /**
   * Ends everything, once; later calls join the first. What fails with an errno is logged.
   *
   * @throws The first other error, after the last step: our own bug.
   */
  run(): Promise<void> {
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run(): Promise<void> {
    let bug: { readonly error: unknown } | undefined;
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step.end();
      } catch (error) {
        const { name } = step;
        if (errnoOf(error) === undefined) bug ??= { error };
        else this.#log.warn('part of a function did not end well', { name, error: String(error) });
      }
    }
    if (bug !== undefined) throw bug.error;
  }
}
