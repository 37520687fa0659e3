// What sysfs says of a PCI function.
import { driverOf, groupOf, type IommuGroup, isVfio, sysfsName } from './group-members.js';
import { pciAddressOf } from './pci-address.js';
import type { SysfsFiles } from './sysfs-files.js';

export interface FunctionFacts {
  /** As in sysfs. */
  readonly address: string;
  readonly vendorId: number | undefined;
  readonly deviceId: number | undefined;
  /** 24 bits: base class, subclass, interface. */
  readonly classCode: number | undefined;
  readonly isBridge: boolean;
  /** Name of the driver that has it. */
  readonly driver: string | undefined;
  /** The only driver that may have it. */
  readonly driverOverride: string | undefined;
  /** Undefined: no IOMMU is in front of it. */
  readonly group: IommuGroup | undefined;
  /** `vfio0`, while a VFIO driver has it. */
  readonly vfioName: string | undefined;
  /** Whether that has a character device of its own; else there is only the group's. */
  readonly hasCharacterDevice: boolean;
  readonly numaNode: number | undefined;
  /** `D0`, `D3hot`... */
  readonly powerState: string | undefined;
  /** Of a virtual function: the address of the one it is a part of. */
  readonly physicalFunction: string | undefined;
  readonly virtualFunctionCount: number;
  /** The console's graphics came up on it. */
  readonly isBootDisplay: boolean;
}

const bridgeClass = 0x06;

export const devicesFolder = 'bus/pci/devices';

/** The functions there are, by address. @throws LessorError `SYSTEM_FAILED` */
export function functionAddresses(files: SysfsFiles): string[] {
  return files.names(devicesFolder).filter((name) => pciAddressOf(name) === name);
}

/**
 * Reads what there is to know of a function. Does not touch the function itself.
 *
 * @param address - In sysfs's spelling. @returns Undefined where there is no such function.
 * @throws LessorError `SYSTEM_FAILED` when its group has more members than can be looked at
 */
export function readFunctionFacts(files: SysfsFiles, address: string): FunctionFacts | undefined {
  const folder = `${devicesFolder}/${address}`;
  if (!files.exists(folder)) return undefined;
  const classCode = inRange(files.number(`${folder}/class`), 0xff_ffff);
  const override = sysfsName(files.text(`${folder}/driver_override`));
  const vfioName = files.names(`${folder}/vfio-dev`).find((name) => /^vfio\d{1,9}$/.test(name));
  const numaNode = files.number(`${folder}/numa_node`);
  const physical = files.linkName(`${folder}/physfn`);
  return {
    address,
    vendorId: inRange(files.number(`${folder}/vendor`), 0xffff),
    deviceId: inRange(files.number(`${folder}/device`), 0xffff),
    classCode,
    isBridge: classCode !== undefined && classCode >>> 16 === bridgeClass,
    driver: driverOf(files, folder),
    driverOverride: override,
    group: groupOf(files, folder),
    vfioName,
    hasCharacterDevice:
      vfioName !== undefined && files.exists(`${folder}/vfio-dev/${vfioName}/dev`),
    numaNode: numaNode !== undefined && numaNode >= 0 ? numaNode : undefined,
    powerState: sysfsName(files.text(`${folder}/power_state`)),
    physicalFunction: physical === undefined ? undefined : pciAddressOf(physical),
    virtualFunctionCount: inRange(files.number(`${folder}/sriov_numvfs`), 0xffff) ?? 0,
    isBootDisplay: files.text(`${folder}/boot_vga`) === '1',
  };
}

/** The node under which user space opens the function; undefined: no VFIO driver has it. */
export function vfioNode(facts: FunctionFacts): string | undefined {
  const { driver, group, vfioName } = facts;
  if (facts.hasCharacterDevice) return `/dev/vfio/devices/${vfioName}`;
  const hasIt = driver !== undefined && isVfio(driver);
  return hasIt && group !== undefined ? `/dev/vfio/${group.number}` : undefined;
}

function inRange(value: number | undefined, max: number): number | undefined {
  return value !== undefined && value >= 0 && value <= max ? value : undefined;
}
