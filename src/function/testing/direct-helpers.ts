// A helper pool that works in this process, for tests whose clients do not block.
import { LessorError } from '../../base/errors.js';
import type { HelperPool } from '../../os/helper-types.js';
import type { MemoryOs } from '../../os/memory-types.js';

export class DirectHelpers implements HelperPool {
  readonly stuckCount = 0;
  readonly pids: readonly number[] = [];
  readonly #memory: MemoryOs;
  /** Set: the next operations do not answer before their deadline. */
  isStuck = false;
  /** Set: operations begin once it resolves. */
  gate: Promise<void> | undefined;

  constructor(memory: MemoryOs) {
    this.#memory = memory;
  }

  async truncate(...[fd, lengthBytes]: Parameters<HelperPool['truncate']>): Promise<void> {
    await this.#begin();
    this.#memory.truncate(fd, lengthBytes);
  }

  async seal(...[fd, seals]: Parameters<HelperPool['seal']>): ReturnType<HelperPool['seal']> {
    await this.#begin();
    try {
      this.#memory.addSeals(fd, seals);
    } catch {
      // The state decides.
    }
    return {
      seals: this.#memory.seals(fd),
      lengthBytes: this.#memory.identity(fd).lengthBytes,
    };
  }

  accept(): never {
    throw new LessorError('UNSUPPORTED', 'accept without helper processes');
  }

  receive(): never {
    throw new LessorError('UNSUPPORTED', 'receive without helper processes');
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #begin(): Promise<void> {
    await this.gate;
    if (this.isStuck) throw new LessorError('DEADLINE_EXCEEDED', 'the helper is stuck');
  }
}
