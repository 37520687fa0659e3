// The kernel's iommufd behind the same calls as the one in software.
// @see linux Documentation/userspace-api/iommufd.rst
import type { Fd } from '../../os/fd.js';
import type { IoctlOs } from '../../os/ioctl-types.js';
import * as uapi from '../../uapi/iommufd.js';
import {
  VFIO_CHECK_EXTENSION,
  VFIO_GET_API_VERSION,
  VFIO_SET_IOMMU,
} from '../../uapi/vfio-requests.js';
import type { FaultQueue, IommuDevice, Iommufd, MemoryGone } from '../iommufd.js';
import type * as requests from '../requests.js';
import { KernelCalls } from './calls.js';
import * as container from './kernel-container.js';
import { KernelDevice } from './kernel-device.js';
import { KernelFaultQueue } from './kernel-fault-queue.js';
import * as hwpt from './kernel-hwpt.js';
import * as ioas from './kernel-ioas.js';

const O_RDWR = 2;

/**
 * Every call is an ioctl of this thread, and waits as long as the kernel does: a map pins memory, a
 * destroy waits for calls of other threads. Errnos are the kernel's.
 */
export class KernelIommufd implements Iommufd {
  readonly #calls: KernelCalls;

  /** @param fd - Of /dev/iommu. Owned. */
  constructor(os: IoctlOs, fd: Fd) {
    this.#calls = new KernelCalls(os, fd);
  }

  /** @throws OsError `ENOENT` without the kernel's support, `EACCES` */
  static open(os: IoctlOs, path = '/dev/iommu'): KernelIommufd {
    return new KernelIommufd(os, os.open(path, O_RDWR));
  }

  ioasAlloc(flags = 0): number {
    const codec = uapi.iommuIoasAlloc;
    const value = { size: codec.sizeBytes, flags, out_ioas_id: 0 };
    return this.#calls.call('IOMMU_IOAS_ALLOC', uapi.IOMMU_IOAS_ALLOC, codec, value).out_ioas_id;
  }

  ioasIovaRanges(ioasId: number, rangesMax: number): requests.IovaRangesResult {
    return ioas.iovaRanges(this.#calls, ioasId, rangesMax);
  }

  ioasAllowIovas(ioasId: number, ranges: Iterable<requests.IovaRange>): void {
    ioas.allowIovas(this.#calls, ioasId, ranges);
  }

  ioasMap(request: requests.MapRequest): bigint {
    return ioas.map(this.#calls, request);
  }

  ioasMapFile(request: requests.MapFileRequest): bigint {
    return ioas.mapFile(this.#calls, request);
  }

  ioasCopy(request: requests.CopyRequest): bigint {
    return ioas.copy(this.#calls, request);
  }

  ioasUnmap(request: requests.UnmapRequest): bigint {
    return ioas.unmap(this.#calls, request);
  }

  option(request: requests.OptionRequest): bigint {
    return ioas.option(this.#calls, request);
  }

  vfioIoas(request: requests.VfioIoasRequest): number {
    return ioas.vfioIoas(this.#calls, request);
  }

  changeProcess(): void {
    const codec = uapi.iommuIoasChangeProcess;
    const value = { size: codec.sizeBytes, __reserved: 0 };
    const request = uapi.IOMMU_IOAS_CHANGE_PROCESS;
    this.#calls.call('IOMMU_IOAS_CHANGE_PROCESS', request, codec, value);
  }

  hwptAlloc(request: requests.HwptAllocRequest): number {
    return hwpt.hwptAlloc(this.#calls, request);
  }

  hwInfo(request: requests.HwInfoRequest): requests.HwInfo {
    return hwpt.hwInfo(this.#calls, request);
  }

  hwptInvalidate(request: requests.HwptInvalidateRequest): requests.HwptInvalidateResult {
    return hwpt.hwptInvalidate(this.#calls, request);
  }

  setDirtyTracking(request: requests.SetDirtyTrackingRequest): void {
    hwpt.setDirtyTracking(this.#calls, request);
  }

  getDirtyBitmap(request: requests.DirtyBitmapRequest): void {
    hwpt.getDirtyBitmap(this.#calls, request);
  }

  faultQueueAlloc(flags = 0): { readonly faultId: number; readonly queue: FaultQueue } {
    const codec = uapi.iommuFaultAlloc;
    const request = uapi.IOMMU_FAULT_QUEUE_ALLOC;
    const value = { size: codec.sizeBytes, flags, out_fault_id: 0, out_fault_fd: 0 };
    const answer = this.#calls.call('IOMMU_FAULT_QUEUE_ALLOC', request, codec, value);
    const { os } = this.#calls;
    const queue = new KernelFaultQueue(os, os.adopt(answer.out_fault_fd));
    return { faultId: answer.out_fault_id, queue };
  }

  destroy(id: number): void {
    const codec = uapi.iommuDestroy;
    const value = { size: codec.sizeBytes, id };
    this.#calls.call('IOMMU_DESTROY', uapi.IOMMU_DESTROY, codec, value);
  }

  /**
   * Binds a VFIO device that was opened by its character device.
   *
   * @param deviceFd - Owned, also when this fails. The kernel knows no unbind: the device is bound
   *   until every descriptor of that open file is closed.
   * @throws OsError @see linux/vfio.h `VFIO_DEVICE_BIND_IOMMUFD`
   */
  bindDevice(deviceFd: Fd): IommuDevice {
    return new KernelDevice(this, this.#calls, deviceFd);
  }

  apiVersion(): number {
    return this.#calls.send('VFIO_GET_API_VERSION', VFIO_GET_API_VERSION, 0);
  }

  checkExtension(extension: number): number {
    return this.#calls.send('VFIO_CHECK_EXTENSION', VFIO_CHECK_EXTENSION, extension);
  }

  setIommu(type: number): void {
    this.#calls.send('VFIO_SET_IOMMU', VFIO_SET_IOMMU, type);
  }

  mapDma(request: requests.DmaMapRequest): void {
    container.mapDma(this.#calls, request);
  }

  unmapDma(request: requests.DmaUnmapRequest): requests.DmaUnmapResult {
    return container.unmapDma(this.#calls, request);
  }

  containerInfo(): requests.ContainerInfo {
    return container.containerInfo(this.#calls);
  }

  /** An unmap has flushed the IOMMU when it returns. */
  settled(): Promise<void> {
    return Promise.resolve();
  }

  /** The kernel pins what is mapped: it stays, whatever its owner does. */
  onMemoryGone(_listener: (event: MemoryGone) => void): Disposable {
    return { [Symbol.dispose]: () => undefined };
  }

  /**
   * Closes the descriptor. The context lives on with its bound devices and fault queues, and DMA
   * goes on, until those are closed too.
   */
  [Symbol.dispose](): void {
    this.#calls.fd.close();
  }
}
