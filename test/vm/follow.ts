// Follows a file that another process appends to, and passes on what comes.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const everyMs = 50;
const chunkBytes = 65_536;

export class Follower {
  readonly #fd: number;
  readonly #take: (bytes: Buffer) => void;
  readonly #timer: NodeJS.Timeout;
  #at = 0;

  /** @param path - There already, and shorter only if somebody emptied it. */
  constructor(path: string, take: (bytes: Buffer) => void) {
    this.#fd = openSync(path, 'r');
    this.#take = take;
    this.#timer = setInterval(() => this.#read(), everyMs);
  }

  #read(): void {
    // A command may open its own output anew (/dev/stdout), which empties the file.
    if (fstatSync(this.#fd).size < this.#at) this.#at = 0;
    for (;;) {
      const bytes = Buffer.alloc(chunkBytes);
      const length = readSync(this.#fd, bytes, 0, chunkBytes, this.#at);
      if (length === 0) return;
      this.#at += length;
      this.#take(bytes.subarray(0, length));
    }
  }

  /** Passes on the rest and ends. Called once. */
  finish(): void {
    clearInterval(this.#timer);
    this.#read();
    closeSync(this.#fd);
  }
}
