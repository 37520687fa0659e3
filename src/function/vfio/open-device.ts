// Opens a function by its address: by its character device and the iommufd, or, where one of them
// is missing, by its group and a container.
import { existsSync, readdirSync } from 'node:fs';
import { isOsError, LessorError } from '../../base/errors.js';
import { KernelAddressSpaces } from '../../iommu/kernel/kernel-spaces.js';
import { closeAll, type Fd } from '../../os/fd.js';
import type { IoctlOs } from '../../os/ioctl-types.js';
import { openGroup } from './group.js';
import { heldByHost, type IommuGroup, isVfio, readIommuGroup } from './group-members.js';
import type { OpenedDevice } from './opened-device.js';
import { readReservedIovas } from './reserved-iovas.js';

const O_RDWR = 2;

/** Where things are; tests have them elsewhere. */
export interface Roots {
  /** Default `/sys`. */
  readonly sysfs?: string;
  /** Default `/dev`. */
  readonly dev?: string;
}

export interface OpenDeviceOptions extends Roots {
  readonly os: IoctlOs;
  /** As in sysfs: `0000:00:05.0`. */
  readonly address: string;
  /** How to open it. Default `any`: whichever there is, `iommufd` first. */
  readonly way?: 'iommufd' | 'container' | 'any';
  readonly startThread?: Parameters<typeof KernelAddressSpaces.open>[0]['startThread'];
}

/**
 * The path of a function's character device; undefined: the kernel makes none.
 *
 * @throws LessorError `FUNCTION_UNBOUND` when it is with another driver, or with none
 */
export function characterDeviceOf(
  address: string,
  group: IommuGroup,
  { sysfs = '/sys', dev = '/dev' }: Roots,
): string | undefined {
  const driver = group.members.find((member) => member.address === address)?.driver;
  if (driver === undefined || !isVfio(driver)) {
    throw new LessorError('FUNCTION_UNBOUND', `${address} is with ${driver ?? 'no driver'}`);
  }
  try {
    const names = readdirSync(`${sysfs}/bus/pci/devices/${address}/vfio-dev`);
    const name = names.find((one) => /^vfio\d{1,9}$/.test(one));
    return name === undefined ? undefined : `${dev}/vfio/devices/${name}`;
  } catch {
    return undefined;
  }
}

/** @throws LessorError `DENIED`, `FUNCTION_GONE`; OsError */
function openNode(os: IoctlOs, path: string): Fd {
  try {
    return os.open(path, O_RDWR);
  } catch (cause) {
    if (isOsError(cause, 'EACCES') || isOsError(cause, 'EPERM')) {
      throw new LessorError('DENIED', `${path} may not be opened`, {
        cause,
        hint: 'give it to your user by a udev rule, /dev/iommu and the nodes in /dev/vfio alike',
      });
    }
    if (isOsError(cause, 'ENODEV') || isOsError(cause, 'ENXIO')) {
      throw new LessorError('FUNCTION_GONE', `${path} leaves its driver`, { cause });
    }
    throw cause;
  }
}

/** What the kernel meant when it did not bind the device to the iommufd. */
function bindError(cause: unknown, address: string, group: IommuGroup): unknown {
  if (!isOsError(cause) || cause.syscall !== 'VFIO_DEVICE_BIND_IOMMUFD') return cause;
  const fail = (...[code, detail, hint]: [LessorError['code'], string, string?]): LessorError =>
    new LessorError(code, detail, { cause, ...(hint === undefined ? {} : { hint }) });
  switch (cause.errno) {
    case 'EBUSY': {
      const held = heldByHost(group).map((one) => `${one.address} (${one.driver})`);
      const start = `${address} is in group ${group.number}`;
      if (held.length === 0) return fail('FUNCTION_BUSY', `${start}, which somebody else has`);
      const detail = `${start} with functions that the host uses: ${held.slice(0, 8).join(', ')}`;
      return fail('GROUP_NOT_VIABLE', detail);
    }
    case 'EINVAL':
      return fail('FUNCTION_BUSY', `another process has ${address}`);
    case 'EPERM':
      return fail(
        'UNSUPPORTED',
        `interrupts of ${address} are not remapped`,
        'switch interrupt remapping on; iommufd.allow_unsafe_interrupts=1 takes the risk instead',
      );
    case 'ENODEV':
      return fail('FUNCTION_GONE', `${address} leaves its driver`);
    default:
      return cause;
  }
}

/** By its character device. */
async function openByDevice(
  options: OpenDeviceOptions,
  group: IommuGroup,
  path: string,
): Promise<OpenedDevice> {
  const { os, address } = options;
  const fd = openNode(os, path);
  try {
    const spaces = await KernelAddressSpaces.open({
      ...threadOf(options),
      // The thread closes its descriptor when it ends; the device stays open until ours is, too.
      deviceFd: fd.duplicate(),
      path: iommufdOf(options),
    });
    const reservedIovas = readReservedIovas(group.number, options.sysfs);
    return { way: 'iommufd', spaces, fd, reservedIovas, groupFd: undefined };
  } catch (error) {
    fd.close();
    throw bindError(error, address, group);
  }
}

/** By its group, in a container of its own. */
async function openByGroup(options: OpenDeviceOptions, group: IommuGroup): Promise<OpenedDevice> {
  const { os, address, dev = '/dev' } = options;
  const { deviceFd, groupFd, containerFd } = openGroup({
    os,
    address,
    group,
    folder: `${dev}/vfio`,
  });
  const fds = [deviceFd, groupFd, containerFd];
  try {
    const threadFd = deviceFd.duplicate();
    fds.push(threadFd);
    const spaces = await KernelAddressSpaces.open({
      ...threadOf(options),
      deviceFd: threadFd,
      container: { containerFd, groupFd: groupFd.duplicate() },
    });
    const reservedIovas = readReservedIovas(group.number, options.sysfs);
    return { way: 'container', spaces, fd: deviceFd, reservedIovas, groupFd };
  } catch (error) {
    closeAll(fds);
    throw error;
  }
}

function iommufdOf({ dev = '/dev' }: Roots): string {
  return `${dev}/iommu`;
}

function threadOf({ os, startThread }: OpenDeviceOptions) {
  return { os, ...(startThread === undefined ? {} : { startThread }) };
}

/**
 * Opens a function: by its character device and the iommufd where both are there, else by its group
 * and a container. The caller owns all of it; nothing stays open when this fails.
 *
 * @throws LessorError `FUNCTION_GONE` where there is none, `FUNCTION_UNBOUND`, `FUNCTION_BUSY`,
 *   `GROUP_NOT_VIABLE`, `DENIED`, `UNSUPPORTED`; OsError
 */
export async function openDevice(options: OpenDeviceOptions): Promise<OpenedDevice> {
  const { address, way = 'any' } = options;
  const group = readIommuGroup(address, options.sysfs);
  const path = characterDeviceOf(address, group, options);
  const isModern = path !== undefined && existsSync(iommufdOf(options));
  if (way === 'container' || (way === 'any' && !isModern)) return openByGroup(options, group);
  if (path !== undefined && isModern) return openByDevice(options, group, path);
  const what = path === undefined ? `character device for ${address}` : iommufdOf(options);
  throw new LessorError('UNSUPPORTED', `there is no ${what}`, {
    hint: 'a kernel with CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV has both',
  });
}
