// An open VFIO device of the kernel, as the parts of a function share it.
import type { Fd } from '../../os/fd.js';
import type { IoctlOs } from '../../os/ioctl-types.js';

/** @see linux/vfio.h `struct vfio_region_info` */
export interface VfioRegion {
  readonly index: number;
  /** Where it begins in the device's file, for pread, pwrite and mmap. */
  readonly fileOffsetBytes: number;
  readonly lengthBytes: number;
  readonly isReadable: boolean;
  readonly isWritable: boolean;
  /** Ranges of it that mmap takes, from its start; empty: none. */
  readonly mappable: readonly { readonly offsetBytes: number; readonly lengthBytes: number }[];
}

/** @see linux/vfio.h `struct vfio_irq_info` */
export interface VfioIrq {
  readonly index: number;
  readonly count: number;
  /** `VFIO_IRQ_INFO_*`. */
  readonly flags: number;
}

/**
 * The calls of a bound device. Reads and writes of regions are made at once by this thread; every
 * other call can wait for the kernel or the hardware, so another thread makes it.
 */
export interface VfioDevice {
  /** PCI address, as in sysfs: `0000:00:05.0`. */
  readonly address: string;
  readonly os: IoctlOs;
  /** Owned by whoever opened the device. */
  readonly fd: Fd;
  readonly canReset: boolean;
  /** By index; BARs that are not there have no entry. */
  readonly regions: ReadonlyMap<number, VfioRegion>;
  readonly irqs: ReadonlyMap<number, VfioIrq>;
  /**
   * An ioctl on the device's descriptor, after those before it. `argument` is copied at the call
   * and, when it is answered, written back.
   *
   * @param name - Of the call, for errors. @returns The non-negative result.
   * @throws OsError; LessorError `FUNCTION_GONE` when the device was closed
   */
  call(name: string, request: number, argument: Uint8Array): Promise<number>;
}
