// A fault queue of the kernel: the file behind it. The object lives on until it is destroyed.
import type { Fd } from '../../os/fd.js';
import type { IoctlOs } from '../../os/ioctl-types.js';
import type { FaultQueue } from '../iommufd.js';

export class KernelFaultQueue implements FaultQueue {
  readonly #os: IoctlOs;
  readonly #fd: Fd;

  /** @param fd - Owned. */
  constructor(os: IoctlOs, fd: Fd) {
    this.#os = os;
    this.#fd = fd;
  }

  read(lengthBytes: number): Uint8Array {
    const into = new Uint8Array(lengthBytes);
    return into.subarray(0, this.#os.read(this.#fd, into));
  }

  write(responses: Uint8Array): number {
    return this.#os.write(this.#fd, responses);
  }

  isReadable(): boolean {
    return this.#os.isReadable(this.#fd);
  }

  close(): void {
    this.#fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
