// iommufd in software: the same calls, in the same order of checks, over page tables that a device
// worker walks. @see linux Documentation/userspace-api/iommufd.rst
import { Listeners } from '../../base/listeners.js';
import type { Iommufd, MemoryGone } from '../iommufd.js';
import type * as requests from '../requests.js';
import type { RevocableWindow } from '../types.js';
import type { PinnableMemory } from '../user-memory.js';
import { SoftAccess, type SoftAccessOptions } from './access.js';
import type { MemoryAccounting, PayingProcess } from './accounting.js';
import type { Area } from './area.js';
import { changeProcess } from './change-process.js';
import { SoftContainer } from './container.js';
import { findIoas, type SoftContext, type SoftObject } from './context.js';
import { copyRange } from './copy.js';
import { destroyAll, destroyObject } from './destroy.js';
import { getDirtyBitmap, setDirtyTracking } from './dirty.js';
import type { Extents } from './extents.js';
import { allocateFaultQueue, type SoftFaultQueue } from './fault-queue.js';
import { ForeignObject } from './foreign.js';
import { HeldFiles } from './held-file.js';
import { readHwInfo } from './hw-info.js';
import { allocateHwpt } from './hwpt-alloc.js';
import { IntervalIndex } from './interval-index.js';
import type { Invalidation } from './invalidation.js';
import { Ioas } from './ioas.js';
import { mapFile, mapLow } from './map-file.js';
import { mapUser } from './map-user.js';
import { invalidateHwpt } from './nested-hwpt.js';
import type { NodePool } from './node-pool.js';
import { fail, ObjectTable } from './objects.js';
import { applyOption } from './options.js';
import { Pin } from './pages.js';
import { Payment } from './payment.js';
import { SoftDevice } from './soft-device.js';
import type { SoftUnit } from './soft-unit.js';
import { unmapLow, unmapRange } from './unmap.js';
import { WindowPages, type WindowPlace } from './window-pages.js';

export interface SoftIommufdOptions {
  readonly pool: NodePool;
  readonly extents: Extents;
  readonly invalidation: Invalidation;
  /** Of the process whose addresses `ioasMap` takes; without it no address leads to memory. */
  readonly userMemory?: PinnableMemory;
  /**
   * As in Linux, memory is given up with the last domain of an IOAS and found again by the next:
   * costs a descriptor for each that is mapped. Default: what is placed stays until it is unmapped.
   */
  readonly keepsFiles?: boolean;
  /** Counts pinned pages, for limits as Linux has them; `process` is who calls. */
  readonly lockedMemory?: {
    readonly accounting: MemoryAccounting;
    readonly process: () => PayingProcess;
  };
}

export class SoftIommufd implements Iommufd {
  readonly #context: SoftContext;
  readonly #container: SoftContainer;
  readonly #goneListeners = new Listeners<MemoryGone>();
  #isClosed = false;

  constructor(options: SoftIommufdOptions) {
    const { pool, extents, invalidation, userMemory, lockedMemory } = options;
    this.#context = {
      objects: new ObjectTable<SoftObject>(),
      pool,
      extents,
      invalidation,
      files: new HeldFiles(),
      keepsFiles: options.keepsFiles ?? false,
      userMemory,
      holders: new Set(),
      dropHolder: (holder) => {
        if (this.#context.holders.delete(holder)) this.#endUnused();
      },
      payment: lockedMemory && new Payment(lockedMemory.accounting, lockedMemory.process),
      compatIoas: undefined,
    };
    this.#container = new SoftContainer(this.#context);
  }

  ioasAlloc(flags = 0): number {
    if (flags !== 0) throw fail('EOPNOTSUPP', 'IOMMU_IOAS_ALLOC', `flags ${flags}`);
    const ioas = new Ioas();
    ioas.id = this.#context.objects.add(ioas);
    return ioas.id;
  }

  ioasIovaRanges(ioasId: number, rangesMax: number): requests.IovaRangesResult {
    const ioas = findIoas(this.#context, ioasId, 'IOMMU_IOAS_IOVA_RANGES');
    const ranges = ioas.freeRanges();
    return {
      ranges: ranges.slice(0, rangesMax),
      rangeCount: ranges.length,
      alignment: ioas.alignment,
      errno: ranges.length > rangesMax ? 'EMSGSIZE' : undefined,
    };
  }

  ioasAllowIovas(ioasId: number, ranges: Iterable<requests.IovaRange>): void {
    const call = 'IOMMU_IOAS_ALLOW_IOVAS';
    const ioas = findIoas(this.#context, ioasId, call);
    const allowed = new IntervalIndex<requests.IovaRange>();
    for (const { start, last } of ranges) {
      if (start >= last) throw fail('EINVAL', call, 'an empty or one-byte range');
      if (allowed.firstMeeting(start, last)) throw fail('EINVAL', call, 'ranges overlap');
      allowed.insert({ start, last });
    }
    for (const { start, last } of allowed) {
      if (ioas.meetsReserved(start, last)) throw fail('EADDRINUSE', call, 'a reserved range');
    }
    ioas.allowed = allowed;
  }

  ioasMapFile(request: requests.MapFileRequest): bigint {
    return mapFile(this.#context, request);
  }

  /**
   * As `ioasMapFile` for an open file that is no memory, which only shows when a device is to see
   * it: `EINVAL` then.
   */
  ioasMapNoMemory(request: Omit<requests.MapFileRequest, 'fd'>): bigint {
    return mapFile(this.#context, { ...request, fd: 'no memory' });
  }

  ioasMapUnreachable(request: Omit<requests.MapFileRequest, 'fd' | 'start'>): bigint {
    const { flags, ioasId, length, iova, account } = request;
    const whole = { flags, ioasId, fd: undefined, start: 0n, length, iova, account };
    return mapFile(this.#context, whole);
  }

  ioasMap(request: requests.MapRequest): bigint {
    return mapUser(this.#context, request);
  }

  ioasCopy(request: requests.CopyRequest): bigint {
    return copyRange(this.#context, request);
  }

  option(request: requests.OptionRequest): bigint {
    return applyOption(this.#context, request);
  }

  changeProcess(): void {
    changeProcess(this.#context);
  }

  vfioIoas(request: requests.VfioIoasRequest): number {
    return this.#container.vfioIoas(request);
  }

  /** The id of the container's IOAS, made where there is none: what a group that joins needs. */
  ensureContainerIoas(): number {
    return this.#container.ensureIoas();
  }

  apiVersion(): number {
    return this.#container.apiVersion();
  }

  checkExtension(extension: number): number {
    return this.#container.checkExtension(extension);
  }

  setIommu(type: number): void {
    this.#container.setIommu(type);
  }

  mapDma(request: requests.DmaMapRequest): void {
    this.#container.mapDma(request);
  }

  unmapDma(request: requests.DmaUnmapRequest): requests.DmaUnmapResult {
    return this.#container.unmapDma(request);
  }

  containerInfo(): requests.ContainerInfo {
    return this.#container.containerInfo();
  }

  ioasUnmap(request: requests.UnmapRequest): bigint {
    return unmapRange(this.#context, request);
  }

  /** A window in the arena, for address spaces to map until it is revoked. */
  exportWindow(place: WindowPlace): RevocableWindow {
    return new WindowPages(this.#context, place);
  }

  ioasMapWindow(request: requests.WindowMapRequest): void {
    const { window } = request;
    if (!WindowPages.isOf(this.#context, window)) {
      throw fail('EINVAL', 'IOMMU_IOAS_MAP_FILE', 'a window of another iommufd');
    }
    window.map(request);
  }

  ioasMapLow(request: requests.LowMapRequest): void {
    mapLow(this.#context, request);
  }

  ioasUnmapLow(ioasId: number, iova: number, lengthBytes: number): void {
    unmapLow(this.#context, ioasId, iova, lengthBytes);
  }

  hwptAlloc(request: requests.HwptAllocRequest): number {
    return allocateHwpt(this.#context, request);
  }

  hwInfo(request: requests.HwInfoRequest): requests.HwInfo {
    return readHwInfo(this.#context, request);
  }

  hwptInvalidate(request: requests.HwptInvalidateRequest): requests.HwptInvalidateResult {
    return invalidateHwpt(this.#context, request);
  }

  destroy(id: number): void {
    destroyObject(this.#context, id);
  }

  setDirtyTracking(request: requests.SetDirtyTrackingRequest): void {
    setDirtyTracking(this.#context, request);
  }

  getDirtyBitmap(request: requests.DirtyBitmapRequest): void {
    getDirtyBitmap(this.#context, request);
  }

  faultQueueAlloc(flags = 0): { readonly faultId: number; readonly queue: SoftFaultQueue } {
    return allocateFaultQueue(this.#context, flags);
  }

  /**
   * Binds a function.
   *
   * @param holdsContext - As the file of a device does: the context lives until it is closed.
   * @throws OsError `EINVAL` when it is bound, `EPERM` when its group belongs to another context or
   *   a driver of the host has a member, `EBUSY` when that driver has made its own translation
   */
  bind(unit: SoftUnit, holdsContext = true): SoftDevice {
    return new SoftDevice(this.#context, unit, holdsContext);
  }

  /** Software that uses address spaces of this context as a device does. */
  createAccess(options: SoftAccessOptions): SoftAccess {
    return new SoftAccess(this.#context, options);
  }

  /** Takes the next id for an object that somebody else defines. */
  reserveObject(): ForeignObject {
    return new ForeignObject(this.#context);
  }

  /** What an id stands for, to look behind it: for hardware that is emulated. */
  find(id: number): SoftObject | undefined {
    return this.#context.objects.get(id);
  }

  settled(): Promise<void> {
    return this.#context.invalidation.settled();
  }

  onMemoryGone(listener: (event: MemoryGone) => void): Disposable {
    return this.#goneListeners.add(listener);
  }

  /** Looks for memory that the SIGBUS guard had to replace, and tells the listeners. Cheap. */
  checkFaults(): void {
    const areas = new Set<Area>();
    for (const user of this.#context.extents.takeGone()) {
      areas.add(user instanceof Pin ? user.area : (user as Area));
    }
    for (const { ioas, start, length } of areas) {
      this.#goneListeners.emit({ ioasId: ioas.id, iova: start, length });
    }
  }

  /**
   * The file of the context is closed. Everything ends, leaves first, once no device and no fault
   * queue is open any more; DMA goes on until then.
   */
  close(): void {
    this.#isClosed = true;
    this.#endUnused();
  }

  /** Everything is closed, as when the process ends: files, devices, then every object. */
  [Symbol.dispose](): void {
    for (const holder of [...this.#context.holders]) holder.close();
    this.close();
  }

  #endUnused(): void {
    if (this.#isClosed && this.#context.holders.size === 0) destroyAll(this.#context);
  }
}
