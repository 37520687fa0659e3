// The IOMMU group of a function, as sysfs shows it: which other functions only go together with it.
import { readdirSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { LessorError } from '../../base/errors.js';

export interface GroupMember {
  readonly address: string;
  /** Name of the driver that has it; undefined: none. */
  readonly driver: string | undefined;
}

/** What the IOMMU cannot tell apart, or what reaches each other without it. */
export interface IommuGroup {
  readonly number: number;
  readonly members: readonly GroupMember[];
}

/**
 * Reads which group a function is in.
 *
 * @param address - As in sysfs. @param root - Where sysfs is mounted.
 * @throws LessorError `FUNCTION_GONE` where there is no such function, `UNSUPPORTED` where no IOMMU
 *   is in front of it
 */
export function readIommuGroup(address: string, root = '/sys'): IommuGroup {
  const device = `${root}/bus/pci/devices/${address}`;
  const group = linkName(`${device}/iommu_group`);
  if (group === undefined || !/^\d{1,9}$/.test(group)) {
    if (namesIn(device) === undefined) {
      throw new LessorError('FUNCTION_GONE', `there is no function ${address}`);
    }
    throw new LessorError('UNSUPPORTED', `no IOMMU is in front of ${address}`, {
      hint: 'switch the IOMMU on: in the firmware, and with intel_iommu=on where the kernel asks',
    });
  }
  const folder = `${root}/kernel/iommu_groups/${group}/devices`;
  const members = (namesIn(folder) ?? []).sort().map((name) => {
    return { address: name, driver: linkName(`${folder}/${name}/driver`) };
  });
  return { number: Number(group), members };
}

/** Whether a driver gives its function to user space: vfio-pci, or one for a kind of device. */
export function isVfio(driver: string): boolean {
  return /(^|[-_])vfio([-_]|$)/.test(driver);
}

/** Drivers that leave DMA to others. @see linux `driver_managed_dma` */
function leavesDmaAlone(driver: string): boolean {
  return ['pcieport', 'pci-stub'].includes(driver) || isVfio(driver);
}

/** Members in the hands of the host: no user space can have the group beside them. */
export function heldByHost({ members }: IommuGroup): GroupMember[] {
  return members.filter(({ driver }) => driver !== undefined && !leavesDmaAlone(driver));
}

function linkName(path: string): string | undefined {
  try {
    return basename(readlinkSync(path));
  } catch {
    return undefined;
  }
}

function namesIn(folder: string): string[] | undefined {
  try {
    return readdirSync(folder);
  } catch {
    return undefined;
  }
}
