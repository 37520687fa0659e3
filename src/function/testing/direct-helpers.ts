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

  constructor(memory: MemoryOs) {
    this.#memory = memory;
  }

  async truncate(...[fd, lengthBytes]: Parameters<HelperPool['truncate']>): Promise<void> {
    this.#check();
    this.#memory.truncate(fd, lengthBytes);
  }

  async seal(...[fd, seals]: Parameters<HelperPool['seal']>): ReturnType<HelperPool['seal']> {
    this.#check();
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

  #check(): void {
    if (this.isStuck) throw new LessorError('DEADLINE_EXCEEDED', 'the helper is stuck');
  }
}
