// Descriptors in memory: numbers, and the open files they refer to, which live while someone
// refers to them.
import { errnoNumber } from '../../base/errno.js';
import { Fd, type FdCalls } from '../fd.js';

export type FakeKind = 'memory' | 'event' | 'other' | 'socket' | 'pidfd';

/** An open file; descriptors and messages in flight refer to it. */
export class FakeFile {
  readonly kind: FakeKind;
  /** Tells it apart in tests; the process id of a pidfd. */
  readonly label: number;
  referenceCount = 0;

  constructor(kind: FakeKind, label: number) {
    this.kind = kind;
    this.label = label;
  }

  /** Nobody refers to it any more. */
  onReleased(): void {}
}

/** High, so that they are never mistaken for real ones. */
const firstNumber = 1_000_000;
const EBADF = errnoNumber('EBADF');

export class FakeFiles implements FdCalls {
  readonly #open = new Map<number, FakeFile>();

  get openCount(): number {
    return this.#open.size;
  }

  file(number: number): FakeFile | undefined {
    return this.#open.get(number);
  }

  /** A new descriptor, the lowest free one as the kernel gives. */
  install(file: FakeFile): number {
    let number = firstNumber;
    while (this.#open.has(number)) number++;
    this.#open.set(number, file);
    file.referenceCount++;
    return number;
  }

  /** A descriptor with an owner. */
  create(kind: FakeKind, label: number): Fd {
    return new Fd(this, this.install(new FakeFile(kind, label)));
  }

  drop(file: FakeFile): void {
    file.referenceCount--;
    if (file.referenceCount === 0) file.onReleased();
  }

  close(number: number): number {
    const file = this.#open.get(number);
    if (file === undefined) return -EBADF;
    this.#open.delete(number);
    this.drop(file);
    return 0;
  }

  duplicate(number: number): number {
    const file = this.#open.get(number);
    return file === undefined ? -EBADF : this.install(file);
  }
}
