// What the kernel's driver for an Intel IOMMU says in its log when a device was refused.
import { closeSync, constants, openSync, readSync } from 'node:fs';
import type { Access } from './cells.js';

export interface LoggedRefusal {
  readonly access: Access;
  readonly iova: number;
  readonly pasid: number | undefined;
  /** Address of the function. */
  readonly requester: string;
  /** Number and words. */
  readonly reason: string;
}

const line =
  /DMAR: \[DMA (Read|Write) (?:NO_PASID|PASID 0x([0-9a-f]+))\] Request device \[([0-9a-f:.]+)\] fault addr 0x([0-9a-f]+) \[fault reason (0x[0-9a-f]+)\] ([^\n]+)/;

/** @see linux drivers/iommu/intel/dmar.c `dmar_fault_do_one` */
export function parseRefusal(record: string): LoggedRefusal | undefined {
  const match = line.exec(record);
  if (match === null) return undefined;
  const [, access, pasid, requester, iova, number, words] = match as unknown as string[];
  return {
    access: access === 'Read' ? 'read' : 'write',
    iova: Number.parseInt(iova!, 16),
    pasid: pasid === undefined ? undefined : Number.parseInt(pasid, 16),
    requester: requester!,
    reason: `${number} ${words}`,
  };
}

/** No record is longer. */
const recordBytesMax = 8192;

/** The log from when it was opened on. @see linux Documentation/ABI/testing/dev-kmsg */
export class KernelLog implements Disposable {
  readonly #fd: number;
  readonly #record = Buffer.alloc(recordBytesMax);

  constructor(path = '/dev/kmsg') {
    this.#fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    this.take();
  }

  /** Refusals that were logged since the last call. */
  take(): LoggedRefusal[] {
    const refusals: LoggedRefusal[] = [];
    for (let record = this.#next(); record !== undefined; record = this.#next()) {
      const refusal = parseRefusal(record);
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
