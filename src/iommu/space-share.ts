// A lease's share of an address space: maps and unmaps what is its own, and nothing else.
import { isLessorError, isOsError, LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { Listeners } from '../base/listeners.js';
import { hex, type Iova, iovaEnd, isAligned, toCount, toIova } from '../base/units.js';
import {
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
} from '../uapi/iommufd.js';
import type { IommuDevice, SpaceCalls } from './iommufd.js';
import { type LowMapRequest, u64Max } from './requests.js';
import type { Access, AddressSpace, DmaAccount, DmaMapping, DmaMemory } from './types.js';

/** Mappings that a dispose removes before it lets others run. */
const unmapsPerTurn = 512;

export interface AddressSpacesOptions {
  readonly iommufd: SpaceCalls;
  /** The function, bound. Not owned. */
  readonly device: IommuDevice;
  /** Mappings of one address space or share. */
  readonly mapsMax?: number;
}

/** An IOAS with its page table, attached. */
export interface Root {
  readonly pasid: number | undefined;
  readonly ioasId: number;
  readonly hwptId: number;
  readonly shares: Set<Share>;
}

/** What a device can map, as numbers. */
export interface Reach {
  readonly pageBytes: number;
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

export function reachOf({
  pageBytes,
  aperture,
}: Pick<IommuDevice, 'pageBytes' | 'aperture'>): Reach {
  const end = Math.min(iovaEnd, Number(aperture.last) + 1);
  return { pageBytes, start: Number(aperture.start), end };
}

class Mapping implements DmaMapping {
  readonly iova: Iova;
  readonly lengthBytes: number;
  readonly access: Access;
  /** Where in its share's list it is. */
  #index: number;

  constructor(iova: Iova, lengthBytes: number, access: Access, index: number) {
    this.iova = iova;
    this.lengthBytes = lengthBytes;
    this.access = access;
    this.#index = index;
  }

  /** True when it is in a list; also for what only claims to be a mapping. */
  static isIn(list: readonly Mapping[], mapping: DmaMapping): mapping is Mapping {
    return #index in mapping && list[mapping.#index] === mapping;
  }

  /** Takes a mapping out of its list; the last one gets its place. */
  static takeOut(list: Mapping[], mapping: Mapping): void {
    const last = list.pop()!;
    if (last === mapping) return;
    list[mapping.#index] = last;
    last.#index = mapping.#index;
  }
}

export class Share implements AddressSpace {
  readonly pasid: number | undefined;
  readonly #root: Root;
  readonly #options: AddressSpacesOptions;
  readonly #end: () => void;
  /** In no order: adding and removing cost the same for a million. */
  readonly #mappings: Mapping[] = [];
  /** From the first loss of memory on, which few address spaces see. */
  #byIova: Map<Iova, Mapping> | undefined;
  readonly #goneListeners = new Listeners<DmaMapping>();
  readonly #mapsMax: number;
  readonly #reach: Reach;
  #disposed: Promise<void> | undefined;

  /** @param end - Gives up the root when it was this share's alone. */
  constructor(options: AddressSpacesOptions, root: Root, end: () => void) {
    this.pasid = root.pasid;
    this.#options = options;
    this.#root = root;
    this.#end = end;
    this.#mapsMax = options.mapsMax ?? limits.mapsPerLeaseMax;
    this.#reach = reachOf(options.device);
  }

  map(
    memory: DmaMemory,
    at: Iova,
    lengthBytes: number,
    access: Access,
    account: DmaAccount,
  ): Promise<DmaMapping> {
    try {
      return Promise.resolve(this.#map(memory, at, lengthBytes, access, account));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  unmap(mapping: DmaMapping): Promise<void> {
    try {
      if (!Mapping.isIn(this.#mappings, mapping)) {
        const detail = `${hex(mapping.iova)} is no mapping of this lease`;
        throw new LessorError('IOVA_NOT_MAPPED', detail);
      }
      this.#remove(mapping);
      return this.#options.iommufd.settled();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  onMemoryGone(listener: (mapping: DmaMapping) => void): Disposable {
    return this.#goneListeners.add(listener);
  }

  /** Tells the listeners when a mapping of this share begins there. */
  memoryGone(iova: Iova): boolean {
    this.#byIova ??= new Map(this.#mappings.map((mapping) => [mapping.iova, mapping]));
    const mapping = this.#byIova.get(iova);
    if (mapping === undefined) return false;
    this.#goneListeners.emit(mapping);
    return true;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#dispose();
    return this.#disposed;
  }

  async #dispose(): Promise<void> {
    const { iommufd } = this.#options;
    if (this.pasid !== undefined) {
      iommufd.ioasUnmap({ ioasId: this.#root.ioasId, iova: 0n, length: u64Max });
      this.#mappings.length = 0;
      this.#byIova?.clear();
    }
    let count = 0;
    while (this.#mappings.length > 0) {
      this.#remove(this.#mappings.at(-1)!);
      count += 1;
      if (count % unmapsPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    this.#end();
    await iommufd.settled();
  }

  #map(
    memory: DmaMemory,
    at: Iova,
    lengthBytes: number,
    access: Access,
    account: DmaAccount,
  ): Mapping {
    if (this.#disposed) throw new LessorError('LEASE_ENDED', 'the address space is gone');
    const iova = checkRange(this.#reach, memory.offsetBytes, at, lengthBytes);
    const mappings = this.#mappings;
    if (mappings.length >= this.#mapsMax) {
      throw new LessorError('QUOTA_EXCEEDED', `more than ${this.#mapsMax} maps`);
    }
    const mapping = new Mapping(iova, lengthBytes, access, mappings.length);
    this.#mapInto(memory, mapping, account);
    mappings.push(mapping);
    this.#byIova?.set(iova, mapping);
    return mapping;
  }

  #remove(mapping: Mapping): void {
    const { iommufd } = this.#options;
    const { ioasId } = this.#root;
    const { iova, lengthBytes } = mapping;
    if (iommufd.ioasUnmapLow !== undefined) iommufd.ioasUnmapLow(ioasId, iova, lengthBytes);
    else iommufd.ioasUnmap({ ioasId, iova: BigInt(iova), length: BigInt(lengthBytes) });
    Mapping.takeOut(this.#mappings, mapping);
    this.#byIova?.delete(iova);
  }

  #mapInto(memory: DmaMemory, mapping: Mapping, account: DmaAccount): void {
    const { iommufd } = this.#options;
    const { ioasId } = this.#root;
    const { iova, lengthBytes: length } = mapping;
    const flags = protectionOf(mapping.access);
    try {
      const { fd, window } = memory;
      if (window !== undefined && iommufd.ioasMapWindow !== undefined) {
        const start = memory.offsetBytes;
        iommufd.ioasMapWindow({ flags, ioasId, window, start, length, iova, account });
        return;
      }
      const start = fd === undefined ? 0 : memory.offsetBytes;
      if (fd === undefined && iommufd.ioasMapUnreachable === undefined) {
        throw new LessorError('UNSUPPORTED', 'this function maps only memory with a descriptor');
      }
      if (iommufd.ioasMapLow !== undefined) {
        iommufd.ioasMapLow({ flags, ioasId, fd, start, length, iova, account });
      } else {
        mapExactly(iommufd, { flags, ioasId, fd, start, length, iova, account });
      }
    } catch (error) {
      throw mapError(error, mapping.iova);
    }
  }
}

/**
 * What can be said of a map without the IOMMU.
 *
 * @throws LessorError `INVALID_ARGUMENT`, `QUOTA_EXCEEDED`, `IOVA_OUTSIDE_WINDOW`, `IOVA_UNALIGNED`
 */
export function checkRange(
  { pageBytes, start, end: reachEnd }: Reach,
  offsetBytes: number,
  at: Iova,
  lengthBytes: number,
): Iova {
  const iova = toIova(at);
  toCount(lengthBytes, 'length', iovaEnd);
  if (lengthBytes === 0) throw new LessorError('INVALID_ARGUMENT', 'length 0');
  toCount(offsetBytes, 'offset', Number.MAX_SAFE_INTEGER - iovaEnd);
  if (lengthBytes > limits.mapBytesMax) {
    throw new LessorError('QUOTA_EXCEEDED', `a map of ${lengthBytes} bytes`);
  }
  const end = iova + lengthBytes;
  if (end > reachEnd || iova < start) {
    throw new LessorError('IOVA_OUTSIDE_WINDOW', `${hex(iova)} to ${hex(end)}`);
  }
  checkAligned(iova, pageBytes);
  checkAligned(lengthBytes, pageBytes);
  checkAligned(offsetBytes, pageBytes);
  return iova;
}

function checkAligned(value: number, pageBytes: number): void {
  if (isAligned(value, pageBytes)) return;
  throw new LessorError('IOVA_UNALIGNED', `${hex(value)} is no multiple of ${pageBytes}`);
}

/** For an iommufd that takes bigints alone. */
function mapExactly(iommufd: SpaceCalls, request: LowMapRequest): void {
  const { ioasId, fd, account } = request;
  const flags = IOMMU_IOAS_MAP_FIXED_IOVA | request.flags;
  const iova = BigInt(request.iova);
  const length = BigInt(request.length);
  if (fd === undefined) {
    iommufd.ioasMapUnreachable?.({ flags, ioasId, length, iova, account });
  } else {
    const start = BigInt(request.start);
    iommufd.ioasMapFile({ flags, ioasId, fd, start, length, iova, account });
  }
}

function protectionOf(access: Access): number {
  if (access === 'read') return IOMMU_IOAS_MAP_READABLE;
  if (access === 'write') return IOMMU_IOAS_MAP_WRITEABLE;
  return IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE;
}

/** The reason that came with an errno, when one did. */
export function causeOf(error: unknown): unknown {
  return isOsError(error) && isLessorError(error.cause) ? error.cause : error;
}

/** The broker's process pays for what its leases map. */
function unpinnable(cause: unknown): LessorError {
  const detail = 'the memory cannot be pinned: over the RLIMIT_MEMLOCK of the broker, or none left';
  const hint = 'raise the limit (ulimit -l, systemd LimitMEMLOCK=), or unmap memory first';
  return new LessorError('QUOTA_EXCEEDED', detail, { cause, hint });
}

function mapError(error: unknown, iova: Iova): unknown {
  const reason = causeOf(error);
  if (!isOsError(reason)) return reason;
  const options = { cause: error };
  switch (reason.errno) {
    case 'EEXIST':
      return new LessorError('IOVA_OVERLAP', `something is mapped at ${hex(iova)}`, options);
    case 'EINVAL':
      return new LessorError('IOVA_OUTSIDE_WINDOW', `${hex(iova)} is reserved`, options);
    case 'EBADF':
      return new LessorError('FD_REFUSED', 'the descriptor is closed', options);
    case 'ENODEV':
      return new LessorError('WINDOW_REVOKED', 'the window was taken back', options);
    case 'ENOMEM':
      return unpinnable(error);
    default:
      return reason;
  }
}
