// A VFIO device of the kernel in an iommufd: bind, attach, detach.
import { OsError } from '../../base/errors.js';
import type { Fd } from '../../os/fd.js';
import { IOMMU_HWPT_ALLOC_PASID } from '../../uapi/iommufd.js';
import * as uapi from '../../uapi/vfio.js';
import type { IommuDevice, Iommufd } from '../iommufd.js';
import type { IovaRange } from '../requests.js';
import type { KernelCalls } from './calls.js';
import { hwInfo } from './kernel-hwpt.js';

const attachCall = 'VFIO_DEVICE_ATTACH_IOMMUFD_PT';
const detachCall = 'VFIO_DEVICE_DETACH_IOMMUFD_PT';
/** What kernels before tokens and PASIDs know of the structs. */
const bindBytes = 16;
const plainAttachBytes = 12;
const plainDetachBytes = 8;
/** No device has as many reserved ranges. */
const rangesMax = 1024;

/** What a device can send and its page tables can hold. */
interface Reach {
  readonly aperture: IovaRange;
  readonly pageBytes: number;
}

/**
 * A page table made for the device in an address space of its own shows how far it reaches and its
 * smallest page; the device itself is left alone. It is one fit for PASIDs when the device sends
 * them, as leases use it: these may be of another format.
 */
function reachOf(iommufd: Iommufd, devId: number, pasidBits: number): Reach {
  const flags = pasidBits > 0 ? IOMMU_HWPT_ALLOC_PASID : 0;
  const ioasId = iommufd.ioasAlloc();
  try {
    const hwptId = iommufd.hwptAlloc({ flags, devId, ptId: ioasId });
    try {
      const { ranges, alignment } = iommufd.ioasIovaRanges(ioasId, rangesMax);
      const start = ranges[0]?.start;
      const last = ranges.at(-1)?.last;
      if (start === undefined || last === undefined) {
        throw new OsError('ENODEV', 'IOMMU_IOAS_IOVA_RANGES', 'the device reaches nothing');
      }
      return { aperture: { start, last }, pageBytes: Number(alignment) };
    } finally {
      iommufd.destroy(hwptId);
    }
  } finally {
    iommufd.destroy(ioasId);
  }
}

export class KernelDevice implements IommuDevice {
  readonly id: number;
  readonly pasidBits: number;
  readonly aperture: IovaRange;
  readonly pageBytes: number;
  readonly #calls: KernelCalls;
  readonly #fd: Fd;
  /** What is attached, undefined for the plain requester id. */
  readonly #attached = new Set<number | undefined>();

  /**
   * Binds the device; the kernel knows no unbind but closing it.
   *
   * @param fd - Of the device. Owned, also when this fails.
   */
  constructor(iommufd: Iommufd, calls: KernelCalls, fd: Fd) {
    this.#calls = calls;
    this.#fd = fd;
    try {
      this.id = this.#bind();
      const request = { flags: 0, devId: this.id, dataType: 0, dataLenMax: 0 };
      this.pasidBits = hwInfo(calls, request).maxPasidLog2;
      const { aperture, pageBytes } = reachOf(iommufd, this.id, this.pasidBits);
      this.aperture = aperture;
      this.pageBytes = pageBytes;
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  attach(ptId: number, pasid?: number): number {
    if (pasid !== undefined) this.#checkPasid(pasid);
    const codec = uapi.vfioDeviceAttachIommufdPt;
    const isPlain = pasid === undefined;
    const request = uapi.VFIO_DEVICE_ATTACH_IOMMUFD_PT;
    const value = {
      argsz: isPlain ? plainAttachBytes : codec.sizeBytes,
      flags: isPlain ? 0 : uapi.VFIO_DEVICE_ATTACH_PASID,
      pt_id: ptId,
      pasid: pasid ?? 0,
    };
    const { pt_id } = this.#calls.call(attachCall, request, codec, value, this.#fd);
    this.#attached.add(pasid);
    return pt_id;
  }

  detach(pasid?: number): void {
    // The kernel would take PASID 0 for the plain requester id; it is never attached as a PASID.
    if (pasid === 0 || (pasid !== undefined && this.pasidBits === 0)) return;
    const codec = uapi.vfioDeviceDetachIommufdPt;
    const isPlain = pasid === undefined;
    const request = uapi.VFIO_DEVICE_DETACH_IOMMUFD_PT;
    const value = {
      argsz: isPlain ? plainDetachBytes : codec.sizeBytes,
      flags: isPlain ? 0 : uapi.VFIO_DEVICE_DETACH_PASID,
      pasid: pasid ?? 0,
    };
    this.#calls.call(detachCall, request, codec, value, this.#fd);
    this.#attached.delete(pasid);
  }

  close(): void {
    if (!this.#fd.isOpen) return;
    try {
      for (const pasid of [...this.#attached]) this.detach(pasid);
    } finally {
      this.#fd.close();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #bind(): number {
    const value = {
      argsz: bindBytes,
      flags: 0,
      iommufd: this.#calls.fd.number,
      out_devid: 0,
      token_uuid_ptr: 0n,
    };
    const codec = uapi.vfioDeviceBindIommufd;
    const request = uapi.VFIO_DEVICE_BIND_IOMMUFD;
    return this.#calls.call('VFIO_DEVICE_BIND_IOMMUFD', request, codec, value, this.#fd).out_devid;
  }

  /**
   * Without PASIDs the kernel may report success and do nothing, and it takes PASID 0 for the plain
   * requester id.
   */
  #checkPasid(pasid: number): void {
    if (this.pasidBits === 0) {
      throw new OsError('EOPNOTSUPP', attachCall, 'the device has no PASIDs');
    }
    if (!Number.isInteger(pasid) || pasid < 1 || pasid >= 2 ** this.pasidBits) {
      throw new OsError('EINVAL', attachCall, `pasid ${pasid}`);
    }
  }
}
