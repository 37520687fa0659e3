// The IOMMU group of a function, as sysfs shows it: which other functions only go together with it.
import { LessorError } from '../../base/errors.js';
import { SysfsFiles } from './sysfs-files.js';

/** Drivers and devices of the kernel have names of this form. */
const nameForm = /^[\w.:-]{1,64}$/;

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
 *   is in front of it, `SYSTEM_FAILED` where its group has more members than can be looked at
 */
export function readIommuGroup(address: string, root = '/sys'): IommuGroup {
  const files = new SysfsFiles(root);
  const device = `bus/pci/devices/${address}`;
  const group = groupOf(files, device);
  if (group !== undefined) return group;
  if (!files.exists(device)) {
    throw new LessorError('FUNCTION_GONE', `there is no function ${address}`);
  }
  throw new LessorError('UNSUPPORTED', `no IOMMU is in front of ${address}`, {
    hint: 'switch the IOMMU on: in the firmware, and with intel_iommu=on where the kernel asks',
  });
}

/**
 * As `readIommuGroup`; undefined where no IOMMU is in front of the function, or there is none.
 *
 * @param folder - Of the function, below the root. @throws LessorError `SYSTEM_FAILED`
 */
export function groupOf(files: SysfsFiles, folder: string): IommuGroup | undefined {
  const group = files.linkName(`${folder}/iommu_group`);
  if (group === undefined || !/^\d{1,9}$/.test(group)) return undefined;
  const devices = `kernel/iommu_groups/${group}/devices`;
  const members: GroupMember[] = files
    .names(devices)
    .map((name) => ({ address: name, driver: driverOf(files, `${devices}/${name}`) }));
  return { number: Number(group), members };
}

/** Name of the driver that has a function. @param folder - Of the function, below the root. */
export function driverOf(files: SysfsFiles, folder: string): string | undefined {
  return sysfsName(files.linkName(`${folder}/driver`));
}

/** Undefined for what is no name; sysfs writes `(null)` for none. */
export function sysfsName(text: string | undefined): string | undefined {
  return text !== undefined && nameForm.test(text) ? text : undefined;
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
