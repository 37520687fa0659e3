// Duplicates of callers' descriptors, for areas that must place their memory later: one for all
// areas that were mapped from the same descriptor.
import type { Fd } from '../../os/fd.js';

/** Give up each hold with `close`. */
export class HeldFile {
  readonly fd: Fd;
  #holdCount = 1;

  constructor(fd: Fd) {
    this.fd = fd;
  }

  /** Undefined when it is closed already. */
  holdAgain(): this | undefined {
    if (this.#holdCount === 0) return undefined;
    this.#holdCount += 1;
    return this;
  }

  close(): void {
    this.#holdCount -= 1;
    if (this.#holdCount === 0) this.fd.close();
  }
}

export class HeldFiles {
  readonly #files = new WeakMap<Fd, HeldFile>();

  /** Duplicates an open descriptor, or holds its duplicate once more. @throws OsError `EMFILE` */
  hold(fd: Fd): HeldFile {
    const held = this.#files.get(fd)?.holdAgain();
    if (held !== undefined) return held;
    const file = new HeldFile(fd.duplicate());
    this.#files.set(fd, file);
    return file;
  }
}
