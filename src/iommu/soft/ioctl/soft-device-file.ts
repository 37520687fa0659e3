// A VFIO device by bytes, as far as its address spaces go: bind, attach, detach.
import { u32 } from '../../../uapi/struct.js';
import {
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_ATTACH_PASID,
  VFIO_DEVICE_BIND_FLAG_TOKEN,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_DETACH_IOMMUFD_PT,
  VFIO_DEVICE_DETACH_PASID,
  vfioDeviceAttachIommufdPt,
  vfioDeviceBindIommufd,
  vfioDeviceDetachIommufdPt,
} from '../../../uapi/vfio.js';
import type { IommuDevice } from '../../iommufd.js';
import type { UserMemory } from '../../user-memory.js';
import { fail } from '../objects.js';
import type { SoftUnit } from '../soft-unit.js';
import { readArgsz } from './argsz-struct.js';
import { readSize, readStruct, replyOrUndo } from './command.js';
import type { SoftFiles } from './soft-files.js';
import { type UserArgument, userArgument } from './user-argument.js';
import { UserSpace } from './user-space.js';

const bind = vfioDeviceBindIommufd;
const attach = vfioDeviceAttachIommufdPt;
const detach = vfioDeviceDetachIommufdPt;
/** A UUID. */
const tokenBytes = 16;

export interface SoftDeviceFileOptions {
  readonly unit: SoftUnit;
  /** Where the pointers of the caller lead. */
  readonly memory: UserMemory;
  /** Where BIND finds the iommufd. */
  readonly files: SoftFiles;
}

export class SoftDeviceFile implements Disposable {
  readonly #unit: SoftUnit;
  readonly #space: UserSpace;
  readonly #files: SoftFiles;
  #device: IommuDevice | undefined;

  constructor({ unit, memory, files }: SoftDeviceFileOptions) {
    this.#unit = unit;
    this.#space = new UserSpace(memory);
    this.#files = files;
  }

  /**
   * One ioctl, by the rules of Linux's VFIO.
   *
   * @param argument - As `SoftIommuFile.ioctl` takes it. @throws OsError with Linux's errno
   */
  ioctl(request: number, argument: Uint8Array | bigint): number {
    const user = userArgument(argument, this.#space);
    if (request === VFIO_DEVICE_BIND_IOMMUFD) this.#bind(user);
    else if (this.#device === undefined) throw fail('EINVAL', 'ioctl', 'not bound');
    else if (request === VFIO_DEVICE_ATTACH_IOMMUFD_PT) attachBy(this.#device, user);
    else if (request === VFIO_DEVICE_DETACH_IOMMUFD_PT) detachBy(this.#device, user);
    else throw fail('ENOTTY', 'ioctl', `0x${request.toString(16)}`);
    return 0;
  }

  /** close(2): detaches and gives up the device object. */
  close(): void {
    this.#device?.close();
    this.#device = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #bind(argument: UserArgument): void {
    const call = 'VFIO_DEVICE_BIND_IOMMUFD';
    const bytes = readStruct(
      argument,
      readSize(argument),
      bind.sizeBytes,
      bind.offsets.token_uuid_ptr!,
    );
    const { flags, iommufd, token_uuid_ptr: token } = bind.decode(bytes);
    if (iommufd < 0) throw fail('EINVAL', call, `fd ${iommufd}`);
    checkFlags(call, flags, VFIO_DEVICE_BIND_FLAG_TOKEN);
    if (this.#device !== undefined) throw fail('EINVAL', call, 'bound already');
    if (flags !== 0) {
      // What shares no physical function with others has no token.
      this.#space.read(token, tokenBytes);
      throw fail('EINVAL', call, 'a token');
    }
    const found = this.#files.get(iommufd);
    if (found === undefined) throw fail('EBADF', call, `descriptor ${iommufd}`);
    if (found.kind !== 'iommufd') throw fail('EBADFD', call, found.kind);
    const device = found.file.iommufd.bind(this.#unit);
    replyOrUndo(
      () => writeU32(argument, bind.offsets.out_devid!, device.id),
      () => device.close(),
    );
    this.#device = device;
  }
}

function attachBy(device: IommuDevice, argument: UserArgument): void {
  const fields = readArgsz(argument, attach, attach.offsets.pasid!);
  const call = 'VFIO_DEVICE_ATTACH_IOMMUFD_PT';
  checkFlags(call, fields.flags, VFIO_DEVICE_ATTACH_PASID);
  const hasPasid = fields.flags !== 0;
  const pasid = hasPasid
    ? readPasid(call, argument, attach.offsets.pasid!, fields.argsz)
    : undefined;
  const ptId = device.attach(fields.pt_id, pasid);
  replyOrUndo(
    () => writeU32(argument, attach.offsets.pt_id!, ptId),
    // Also after the attach of a PASID, which stays: so Linux does.
    () => device.detach(),
  );
}

function detachBy(device: IommuDevice, argument: UserArgument): void {
  const fields = readArgsz(argument, detach, detach.offsets.pasid!);
  const call = 'VFIO_DEVICE_DETACH_IOMMUFD_PT';
  checkFlags(call, fields.flags, VFIO_DEVICE_DETACH_PASID);
  const hasPasid = fields.flags !== 0;
  device.detach(
    hasPasid ? readPasid(call, argument, detach.offsets.pasid!, fields.argsz) : undefined,
  );
}

function checkFlags(call: string, flags: number, known: number): void {
  if ((flags & ~known) !== 0) throw fail('EINVAL', call, `flags ${flags}`);
}

/** @throws OsError `EINVAL`, `EFAULT` */
function readPasid(call: string, argument: UserArgument, at: number, argsz: number): number {
  if (argsz < at + u32.sizeBytes) throw fail('EINVAL', call, `argsz ${argsz}`);
  return u32.read(argument.read(at, u32.sizeBytes), 0, 'pasid');
}

function writeU32(argument: UserArgument, at: number, value: number): void {
  const bytes = new Uint8Array(u32.sizeBytes);
  u32.write(bytes, 0, value, 'u32');
  argument.write(at, bytes);
}
