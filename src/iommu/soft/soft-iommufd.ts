// iommufd in software: the same calls, in the same order of checks, over page tables that a device
// worker walks. @see linux Documentation/userspace-api/iommufd.rst
import { Listeners } from '../../base/listeners.js';
import { IOMMU_HWPT_ALLOC_PASID } from '../../uapi/iommufd.js';
import type { IommuDevice, Iommufd, MemoryGone } from '../iommufd.js';
import type {
  HwptAllocRequest,
  IovaRange,
  IovaRangesResult,
  LowMapRequest,
  MapFileRequest,
  UnmapRequest,
} from '../requests.js';
import type { PinnableMemory } from '../user-memory.js';
import type { Area } from './area.js';
import { findIoas, type SoftContext, type SoftObject } from './context.js';
import type { Extents } from './extents.js';
import { HeldFiles } from './held-file.js';
import { Hwpt } from './hwpt.js';
import { IntervalIndex } from './interval-index.js';
import type { Invalidation } from './invalidation.js';
import { Ioas } from './ioas.js';
import { mapFile, mapLow } from './map-file.js';
import type { NodePool } from './node-pool.js';
import { fail, ObjectTable } from './objects.js';
import { Pin } from './pages.js';
import { SoftDevice, type SoftUnit } from './soft-device.js';
import { unmapAll, unmapLow, unmapRange } from './unmap.js';

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
}

export class SoftIommufd implements Iommufd {
  readonly #context: SoftContext;
  readonly #goneListeners = new Listeners<MemoryGone>();

  constructor(options: SoftIommufdOptions) {
    const { pool, extents, invalidation, userMemory } = options;
    this.#context = {
      objects: new ObjectTable<SoftObject>(),
      pool,
      extents,
      invalidation,
      files: new HeldFiles(),
      keepsFiles: options.keepsFiles ?? false,
      userMemory,
    };
  }

  ioasAlloc(flags = 0): number {
    if (flags !== 0) throw fail('EOPNOTSUPP', 'IOMMU_IOAS_ALLOC', `flags ${flags}`);
    const ioas = new Ioas();
    ioas.id = this.#context.objects.add(ioas);
    return ioas.id;
  }

  ioasIovaRanges(ioasId: number, rangesMax: number): IovaRangesResult {
    const ioas = findIoas(this.#context, ioasId, 'IOMMU_IOAS_IOVA_RANGES');
    const ranges = ioas.freeRanges();
    return {
      ranges: ranges.slice(0, rangesMax),
      rangeCount: ranges.length,
      alignment: ioas.alignment,
      errno: ranges.length > rangesMax ? 'EMSGSIZE' : undefined,
    };
  }

  ioasAllowIovas(ioasId: number, ranges: Iterable<IovaRange>): void {
    const call = 'IOMMU_IOAS_ALLOW_IOVAS';
    const ioas = findIoas(this.#context, ioasId, call);
    const allowed = new IntervalIndex<IovaRange>();
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

  ioasMapFile(request: MapFileRequest): bigint {
    return mapFile(this.#context, request);
  }

  ioasMapUnreachable(request: Omit<MapFileRequest, 'fd' | 'start'>): bigint {
    const { flags, ioasId, length, iova, account } = request;
    const whole = { flags, ioasId, fd: undefined, start: 0n, length, iova, account };
    return mapFile(this.#context, whole);
  }

  ioasUnmap(request: UnmapRequest): bigint {
    return unmapRange(this.#context, request);
  }

  ioasMapLow(request: LowMapRequest): void {
    mapLow(this.#context, request);
  }

  ioasUnmapLow(ioasId: number, iova: number, lengthBytes: number): void {
    unmapLow(this.#context, ioasId, iova, lengthBytes);
  }

  hwptAlloc({ flags, devId, ptId }: HwptAllocRequest): number {
    const call = 'IOMMU_HWPT_ALLOC';
    const device = this.#context.objects.get(devId);
    if (device?.kind !== 'device') throw fail('ENOENT', call, `device ${devId}`);
    const ioas = this.#context.objects.get(ptId);
    if (ioas === undefined || ioas.kind === 'device') throw fail('EINVAL', call, `object ${ptId}`);
    // An HWPT would become the parent of a nested one, which needs data of a hardware type.
    if (ioas.kind === 'hwpt') throw fail('EOPNOTSUPP', call, 'nesting');
    if ((flags & ~IOMMU_HWPT_ALLOC_PASID) !== 0) throw fail('EOPNOTSUPP', call, `flags ${flags}`);
    const isPasid = (flags & IOMMU_HWPT_ALLOC_PASID) !== 0;
    if (isPasid && device.pasidBits === 0) throw fail('EOPNOTSUPP', call, 'no PASIDs');
    const options = { aperture: device.aperture, isPasid, isAuto: false };
    const hwpt = new Hwpt(this.#context, ioas, options, call);
    hwpt.id = this.#context.objects.add(hwpt);
    return hwpt.id;
  }

  destroy(id: number): void {
    const call = 'IOMMU_DESTROY';
    const object = this.#context.objects.get(id);
    if (object === undefined) throw fail('ENOENT', call, `object ${id}`);
    if (isInUse(object)) throw fail('EBUSY', call, `object ${id}`);
    this.#context.objects.remove(id);
    if (object.kind === 'ioas') unmapAll(this.#context, object);
    else if (object.kind === 'hwpt') object.destroy();
  }

  /**
   * Binds a function. @throws OsError `EINVAL` when it is bound, `EPERM` when its group belongs to
   * another context.
   */
  bind(unit: SoftUnit): IommuDevice {
    return new SoftDevice(this.#context, unit);
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

  /** Closes every device and destroys every object, leaves first. */
  [Symbol.dispose](): void {
    const all = this.#context.objects.all();
    for (const object of all) if (object.kind === 'device') object.close();
    for (const kind of ['hwpt', 'ioas'] as const) {
      for (const object of all) {
        if (object.kind === kind && this.#context.objects.get(object.id) === object) {
          this.destroy(object.id);
        }
      }
    }
  }
}

function isInUse(object: SoftObject): boolean {
  switch (object.kind) {
    case 'device':
      return true;
    case 'hwpt':
      return object.useCount > 0;
    case 'ioas':
      return object.domains.length > 0;
  }
}
