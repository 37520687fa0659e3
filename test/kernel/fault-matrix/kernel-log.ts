// What the kernel's driver for an IOMMU says in its log when a device was refused, when asked.
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { FaultLines, type LoggedFault } from '../../../src/function/vfio/fault-lines.js';

/** No record is longer. */
const recordBytesMax = 8192;

/** The log from when it was opened on. @see linux Documentation/ABI/testing/dev-kmsg */
export class KernelLog implements Disposable {
  readonly #fd: number;
  readonly #lines = new FaultLines();
  readonly #record = Buffer.alloc(recordBytesMax);

  constructor(path = '/dev/kmsg') {
    this.#fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    this.take();
  }

  /** Refusals that were logged since the last call. */
  take(): LoggedFault[] {
    const refusals: LoggedFault[] = [];
    for (let record = this.#next(); record !== undefined; record = this.#next()) {
      const refusal = this.#lines.take(record);
      if (refusal !== undefined) refusals.push(refusal);
    }
    return refusals;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  #next(): string | undefined {
    for (;;) {
      try {
        return this.#record.toString('utf8', 0, readSync(this.#fd, this.#record));
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EAGAIN') return undefined;
        // Older records were overwritten: the next read gives the oldest there is.
        if (code !== 'EPIPE') throw error;
      }
    }
  }
}
