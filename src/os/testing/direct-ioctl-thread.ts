// An ioctl thread that is none: the calls are made here, each in a turn of its own.
import { isOsError, LessorError, OsError } from '../../base/errors.js';
import type { Fd } from '../fd.js';
import type { IoctlThread } from '../ioctl-thread-types.js';
import type { IoctlOs } from '../ioctl-types.js';

export class DirectIoctlThread implements IoctlThread {
  readonly ended: Promise<string>;
  readonly #os: Pick<IoctlOs, 'ioctl'>;
  readonly #fd: Fd;
  #last: Promise<unknown> = Promise.resolve();
  #gone: string | undefined;
  #onEnd: (detail: string) => void = () => undefined;

  constructor(os: Pick<IoctlOs, 'ioctl'>, fd: Fd) {
    this.#os = os;
    this.#fd = fd;
    this.ended = new Promise((resolve) => {
      this.#onEnd = resolve;
    });
  }

  call(name: string, request: number, argument: Uint8Array): Promise<number> {
    const bytes = argument.slice();
    if (this.#gone !== undefined) return Promise.reject(this.#refusal());
    const made = this.#last.then(async () => {
      await new Promise((next) => setImmediate(next));
      if (this.#gone === 'died') throw this.#refusal();
      try {
        return this.#os.ioctl(this.#fd, request, bytes);
      } catch (error) {
        throw isOsError(error) ? new OsError(error.errno, name) : error;
      } finally {
        argument.set(bytes);
      }
    });
    this.#last = made.catch(() => undefined);
    return made;
  }

  /** As when a thread dies: nothing that waits is made. */
  die(): void {
    this.#gone = 'died';
    this.#onEnd('died');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#gone ??= 'closed';
    await this.#last;
    this.#onEnd('closed');
  }

  #refusal(): LessorError {
    return new LessorError('FUNCTION_GONE', `the thread ${this.#gone}`);
  }
}
