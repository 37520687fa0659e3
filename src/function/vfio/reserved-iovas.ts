// Which I/O virtual addresses a function cannot map, as sysfs tells it of its group: where its
// interrupts are written to, and what its firmware keeps.
// @see linux Documentation/ABI/testing/sysfs-kernel-iommu_groups
import { limits } from '../../base/limits.js';
import { readBounded } from './sysfs-files.js';

/** Numbers below 2^48: what lies above nobody maps. */
export interface ReservedIovas {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

const form = /^0x([0-9a-f]{16}) 0x([0-9a-f]{16}) ([a-z-]+)$/;
const iovaLast = 2n ** 48n - 1n;
/** The kernel lets user space map these. */
const mappable = 'direct-relaxable';

/** Reads what the kernel says of a group; a line that is none of its own is passed over. Pure. */
export function parseReservedRegions(text: string): ReservedIovas[] {
  return text.split('\n').flatMap((line) => {
    const [, first, last, kind] = form.exec(line) ?? [];
    if (first === undefined || last === undefined || kind === mappable) return [];
    const [start, end] = [BigInt(`0x${first}`), BigInt(`0x${last}`)];
    if (start > end || start > iovaLast) return [];
    return [{ start: Number(start), end: Number(end > iovaLast ? iovaLast : end) + 1 }];
  });
}

/** @param group - Its number. @param sysfs - Where it is mounted. */
export function readReservedIovas(group: number, sysfs = '/sys'): ReservedIovas[] {
  const path = `${sysfs}/kernel/iommu_groups/${group}/reserved_regions`;
  return parseReservedRegions(readBounded(path, limits.sysfsAttributeBytesMax) ?? '');
}
