// The DMA that an IOMMU refused one function, from the only place where its driver says so: the log
// of the kernel.
import { isOsError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/log.js';
import type { EventOs } from '../../os/event-types.js';
import type { Fd } from '../../os/fd.js';
import type { IoctlOs } from '../../os/ioctl-types.js';
import type { DmaFault } from '../types.js';
import { FaultLines } from './fault-lines.js';

const O_NONBLOCK = 0o4000;
/** No record is longer. */
const recordBytesMax = 8192;

export interface KernelFaultLogParts {
  readonly ioctl: Pick<IoctlOs, 'open' | 'read'>;
  readonly events: Pick<EventOs, 'watch'>;
  readonly log: Logger;
  /** Of the function, as in sysfs. */
  readonly address: string;
  readonly onFault: (fault: DmaFault) => void;
  /** Default /dev/kmsg. */
  readonly path?: string;
}

export type KernelFaultLogResult =
  | { readonly type: 'open'; readonly faults: KernelFaultLog }
  /** Faults are not seen by this way; everything else goes on. */
  | { readonly type: 'absent'; readonly reason: string };

/**
 * Listens for refused DMA of one function, from now on: what the log held before is passed over.
 * To read the log takes CAP_SYSLOG where `kernel.dmesg_restrict` is 1, and a readable /dev/kmsg.
 *
 * The log does not have every fault: drivers of IOMMUs say ten things in five seconds at most, for
 * the whole machine, of which a refused DMA takes an Intel one up to three; the rest is dropped in
 * the kernel, uncounted. An address is that of the page. Some accesses that are refused leave no
 * line at all.
 */
export async function openKernelFaultLog(
  parts: KernelFaultLogParts,
): Promise<KernelFaultLogResult> {
  const { path = '/dev/kmsg' } = parts;
  try {
    const faults = new KernelFaultLog(parts, parts.ioctl.open(path, O_NONBLOCK));
    await faults.isAtEnd;
    return { type: 'open', faults };
  } catch (error) {
    if (!isOsError(error)) throw error;
    return { type: 'absent', reason: reasonOf(error.errno, path) };
  }
}

function reasonOf(errno: string, path: string): string {
  switch (errno) {
    case 'ENOENT':
    case 'ENXIO':
    case 'ENODEV':
      return `there is no ${path}, in which IOMMUs report faults`;
    case 'EACCES':
      return `${path}, in which IOMMUs report faults, is not readable for this user`;
    case 'EPERM':
      return `${path}, in which IOMMUs report faults, takes CAP_SYSLOG here, or kernel.dmesg_restrict=0`;
    default:
      return `${path}, in which IOMMUs report faults, cannot be read: ${errno}`;
  }
}

export class KernelFaultLog implements Disposable {
  /** Resolves once everything older was passed over. */
  readonly isAtEnd: Promise<void>;
  readonly #parts: KernelFaultLogParts;
  readonly #fd: Fd;
  readonly #record = Buffer.alloc(recordBytesMax);
  readonly #lines = new FaultLines();
  readonly #watch: Disposable;
  #end: { resolve: () => void; reject: (error: unknown) => void } | undefined;
  #gapCount = 0;

  /** @param fd - Owned from here on, also when this throws. */
  constructor(parts: KernelFaultLogParts, fd: Fd) {
    this.#parts = parts;
    this.#fd = fd;
    this.isAtEnd = new Promise((resolve, reject) => {
      this.#end = { resolve, reject };
    });
    this.isAtEnd.catch(() => undefined);
    try {
      this.#watch = parts.events.watch(fd, () => this.#onReadable());
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /** How often records were overwritten before they could be read. */
  get gapCount(): number {
    return this.#gapCount;
  }

  [Symbol.dispose](): void {
    if (!this.#fd.isOpen) return;
    this.#watch[Symbol.dispose]();
    this.#fd.close();
    this.#end?.resolve();
  }

  /** A few records; for more, the next turn of the event loop calls again. */
  #onReadable(): void {
    for (let count = 0; count < limits.kernelLogRecordsPerTurnMax && this.#fd.isOpen; count += 1) {
      let lengthBytes: number;
      try {
        lengthBytes = this.#parts.ioctl.read(this.#fd, this.#record);
      } catch (error) {
        if (this.#goesOn(error)) continue;
        return;
      }
      this.#take(this.#record.toString('latin1', 0, lengthBytes));
    }
  }

  /** @returns Whether there may be more now. */
  #goesOn(error: unknown): boolean {
    if (isOsError(error, 'EAGAIN')) {
      this.#end?.resolve();
      this.#end = undefined;
      return false;
    }
    if (isOsError(error, 'EPIPE')) {
      this.#gapCount += 1;
      return true;
    }
    this.#end?.reject(error);
    this.#parts.log.warn('faults in the log of the kernel are not seen any more', {
      error: String(error),
    });
    this[Symbol.dispose]();
    return false;
  }

  #take(record: string): void {
    const found = this.#lines.take(record);
    if (found === undefined || this.#end !== undefined) return;
    if (found.requester !== this.#parts.address) return;
    const { pasid, iova, access, reason } = found;
    this.#parts.onFault({ pasid, iova, access, reason });
  }
}
