// Descriptors that exist in a table alone, so that a test can count what was not closed.
import { Fd } from '../../os/fd.js';

export class FdTable {
  readonly #open = new Map<number, string>();
  #next = 100;

  /** A new descriptor of the open file `name`. */
  open(name: string): Fd {
    const number = this.#next++;
    this.#open.set(number, name);
    return new Fd(
      {
        close: (fd) => (this.#open.delete(fd) ? 0 : -9),
        duplicate: (fd) => this.open(this.#open.get(fd) ?? 'closed').release(),
      },
      number,
    );
  }

  nameOf(fd: Fd): string | undefined {
    return this.#open.get(fd.number);
  }

  /** Names of the files that are still open. */
  get left(): string[] {
    return [...this.#open.values()];
  }
}
