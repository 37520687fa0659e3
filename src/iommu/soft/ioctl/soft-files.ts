// The descriptors of a process that uses a soft iommufd by bytes: numbers, lowest free first.
import { assert } from '../../../base/errors.js';
import type { Fd } from '../../../os/fd.js';
import type { FaultQueue } from '../../iommufd.js';
import { fail } from '../objects.js';
import type { SoftIommuFile } from './soft-iommu-file.js';

export type SoftFile =
  | { readonly kind: 'iommufd'; readonly file: SoftIommuFile }
  | { readonly kind: 'fault queue'; readonly queue: FaultQueue }
  /** The descriptor is not owned. */
  | { readonly kind: 'memory'; readonly fd: Fd };

/** As RLIMIT_NOFILE commonly is. */
const filesMaxDefault = 1024;

export class SoftFiles {
  readonly #files = new Map<number, SoftFile>();
  readonly #filesMax: number;

  /** @param filesMax - Numbers are below it. */
  constructor(filesMax = filesMaxDefault) {
    this.#filesMax = filesMax;
  }

  /** @returns Its number. @throws OsError `EMFILE` */
  add(file: SoftFile): number {
    let number = 0;
    while (this.#files.has(number)) number += 1;
    if (number >= this.#filesMax) throw fail('EMFILE', 'open', `${this.#filesMax} files`);
    this.#files.set(number, file);
    return number;
  }

  /** Gives a number that is free to a file, as dup2(2) does. */
  addAt(number: number, file: SoftFile): void {
    assert(Number.isInteger(number) && number >= 0, `descriptor ${number}`);
    assert(!this.#files.has(number), `descriptor ${number} is in use`);
    this.#files.set(number, file);
  }

  get(number: number): SoftFile | undefined {
    return this.#files.get(number);
  }

  /** close(2). @throws OsError `EBADF` */
  close(number: number): void {
    const file = this.#files.get(number);
    if (file === undefined) throw fail('EBADF', 'close', `${number}`);
    this.#files.delete(number);
    if (file.kind === 'fault queue') file.queue.close();
  }

  /**
   * read(2).
   *
   * @throws OsError `EBADF`, and what the file says
   */
  read(number: number, lengthBytes: number): Uint8Array {
    return this.#queue(number, 'read').read(lengthBytes);
  }

  /**
   * write(2).
   *
   * @returns Bytes taken. @throws OsError `EBADF`, and what the file says
   */
  write(number: number, data: Uint8Array): number {
    return this.#queue(number, 'write').write(data);
  }

  /** poll(2): a write can always be tried, a read gives something. @throws OsError `EBADF` */
  isReadable(number: number): boolean {
    return this.#queue(number, 'poll').isReadable();
  }

  #queue(number: number, call: string): FaultQueue {
    const file = this.#files.get(number);
    if (file === undefined) throw fail('EBADF', call, `${number}`);
    // Neither an iommufd nor what stands for memory is read or written this way.
    if (file.kind !== 'fault queue') throw fail('EINVAL', call, file.kind);
    return file.queue;
  }
}
