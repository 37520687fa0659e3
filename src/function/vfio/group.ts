// A function by its group and a type1v2 container, for kernels without iommufd.
// @see linux Documentation/driver-api/vfio.rst
import { type ErrorCode, isOsError, LessorError, OsError } from '../../base/errors.js';
import type { Fd } from '../../os/fd.js';
import type { IoctlOs } from '../../os/ioctl-types.js';
import * as uapi from '../../uapi/vfio.js';
import { heldByHost, type IommuGroup, isVfio } from './group-members.js';

const O_RDWR = 2;
/** That a message names; a group can have a whole bus in it. */
const namedMax = 8;

export interface GroupOptions {
  readonly os: IoctlOs;
  /** As in sysfs: `0000:00:05.0`. */
  readonly address: string;
  /** That the function is in. */
  readonly group: IommuGroup;
  /** Where the nodes of VFIO are. */
  readonly folder?: string;
}

/**
 * The caller owns all three. DMA ends when the last descriptor of the device is closed; what was
 * mapped is given back when the group and the container are closed, too.
 */
export interface OpenGroup {
  readonly deviceFd: Fd;
  /** Needed again only by a reset of the whole bus. */
  readonly groupFd: Fd;
  /** Its IOMMU is type1v2, and the group is all that is in it. */
  readonly containerFd: Fd;
}

/**
 * Opens a function through its group, in a container of its own. Waits for the kernel, which resets
 * the function. Nothing stays open when it fails.
 *
 * @throws LessorError `GROUP_NOT_VIABLE`, `FUNCTION_BUSY`, `FUNCTION_UNBOUND`, `DENIED`,
 *   `UNSUPPORTED`; OsError
 * @see linux/vfio.h `VFIO_GROUP_GET_DEVICE_FD`
 */
export function openGroup(options: GroupOptions): OpenGroup {
  const { os, folder = '/dev/vfio' } = options;
  const groupFd = openNode(options, `${folder}/${options.group.number}`);
  let containerFd: Fd | undefined;
  try {
    checkViable(options, groupFd);
    containerFd = openNode(options, `${folder}/vfio`);
    checkContainer(os, containerFd);
    joinContainer(options, groupFd, containerFd);
    return { deviceFd: deviceOf(options, groupFd), groupFd, containerFd };
  } catch (error) {
    groupFd.close();
    containerFd?.close();
    throw error;
  }
}

function openNode({ os, address, group }: GroupOptions, path: string): Fd {
  try {
    return os.open(path, O_RDWR);
  } catch (cause) {
    const fail = (code: ErrorCode, detail: string, hint?: string): LessorError =>
      new LessorError(code, detail, { cause, ...(hint === undefined ? {} : { hint }) });
    if (isOsError(cause, 'ENOENT')) {
      const driver = group.members.find((member) => member.address === address)?.driver;
      if (driver === undefined || !isVfio(driver)) {
        throw fail('FUNCTION_UNBOUND', `${address} is with ${driver ?? 'no driver'}`);
      }
      throw fail('UNSUPPORTED', `there is no ${path}`, 'load vfio and vfio_iommu_type1');
    }
    if (isOsError(cause, 'EACCES') || isOsError(cause, 'EPERM')) {
      throw fail('DENIED', `${path} may not be opened`, 'give it to your user by a udev rule');
    }
    if (isOsError(cause, 'EBUSY')) throw fail('FUNCTION_BUSY', `${path} is open already`);
    throw cause;
  }
}

function checkViable(options: GroupOptions, groupFd: Fd): void {
  const codec = uapi.vfioGroupStatus;
  const bytes = codec.encode({ argsz: codec.sizeBytes, flags: 0 });
  send(options.os, groupFd, 'VFIO_GROUP_GET_STATUS', uapi.VFIO_GROUP_GET_STATUS, bytes);
  if ((codec.decode(bytes).flags & uapi.VFIO_GROUP_FLAGS_VIABLE) === 0) throw notViable(options);
}

function notViable({ address, group }: GroupOptions, cause?: unknown): LessorError {
  const held = heldByHost(group);
  const start = `${address} is in group ${group.number}`;
  if (held.length === 0) {
    return new LessorError('FUNCTION_BUSY', `${start}, which another process has`, { cause });
  }
  const names = held.slice(0, namedMax).map((one) => `${one.address} (${one.driver})`);
  const rest = held.length > namedMax ? ` and ${held.length - namedMax} more` : '';
  const detail = `${start} with functions that the host uses: ${names.join(', ')}${rest}`;
  return new LessorError('GROUP_NOT_VIABLE', detail, { cause });
}

function checkContainer(os: IoctlOs, containerFd: Fd): void {
  const name = 'VFIO_GET_API_VERSION';
  const version = send(os, containerFd, name, uapi.VFIO_GET_API_VERSION, 0);
  if (version !== uapi.VFIO_API_VERSION) {
    throw new LessorError('UNSUPPORTED', `version ${version} of VFIO`);
  }
  const extension = uapi.VFIO_TYPE1v2_IOMMU;
  const asked = 'VFIO_CHECK_EXTENSION';
  if (send(os, containerFd, asked, uapi.VFIO_CHECK_EXTENSION, extension) > 0) return;
  const hint = 'load vfio_iommu_type1';
  throw new LessorError('UNSUPPORTED', 'the kernel has no IOMMU of type1v2', { hint });
}

function joinContainer(options: GroupOptions, groupFd: Fd, containerFd: Fd): void {
  const { os, address } = options;
  const number = new Uint8Array(new Int32Array([containerFd.number]).buffer);
  try {
    send(os, groupFd, 'VFIO_GROUP_SET_CONTAINER', uapi.VFIO_GROUP_SET_CONTAINER, number);
  } catch (error) {
    // Somebody was faster since the group was viable.
    if (isOsError(error, 'EPERM') || isOsError(error, 'EBUSY')) throw notViable(options, error);
    throw error;
  }
  try {
    send(os, containerFd, 'VFIO_SET_IOMMU', uapi.VFIO_SET_IOMMU, uapi.VFIO_TYPE1v2_IOMMU);
  } catch (cause) {
    if (!isOsError(cause, 'EPERM')) throw cause;
    throw new LessorError('UNSUPPORTED', `interrupts of ${address} are not remapped`, {
      cause,
      hint: 'switch interrupt remapping on; allow_unsafe_interrupts=1 takes the risk instead',
    });
  }
}

function deviceOf({ os, address }: GroupOptions, groupFd: Fd): Fd {
  const text = new Uint8Array(Buffer.from(`${address}\0`));
  try {
    const name = 'VFIO_GROUP_GET_DEVICE_FD';
    return os.adopt(send(os, groupFd, name, uapi.VFIO_GROUP_GET_DEVICE_FD, text));
  } catch (cause) {
    if (!isOsError(cause, 'ENODEV')) throw cause;
    throw new LessorError('FUNCTION_UNBOUND', `${address} is not with vfio-pci`, { cause });
  }
}

/** @throws OsError that names the call */
function send(os: IoctlOs, fd: Fd, name: string, request: number, value: Uint8Array | number) {
  try {
    return os.ioctl(fd, request, value);
  } catch (error) {
    throw isOsError(error) ? new OsError(error.errno, name) : error;
  }
}
