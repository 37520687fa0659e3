// A lease's share of an address space: maps and unmaps what is its own, and nothing else.
import { isLessorError, isOsError, LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { Listeners } from '../base/listeners.js';
import { hex, type Iova, iovaEnd, isAligned, toCount, toIova } from '../base/units.js';
import {
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
  type IommuDevice,
  type Iommufd,
  u64Max,
} from './iommufd.js';
import type { Access, AddressSpace, DmaAccount, DmaMapping, DmaMemory } from './types.js';

/** Mappings that a dispose removes before it lets others run. */
const unmapsPerTurn = 512;

export interface AddressSpacesOptions {
  readonly iommufd: Iommufd;
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

class Mapping implements DmaMapping {
  readonly iova: Iova;
  readonly lengthBytes: number;
  readonly access: Access;
  /** As the iommufd knows it. */
  readonly start: bigint;
  readonly length: bigint;

  constructor(iova: Iova, lengthBytes: number, access: Access) {
    this.iova = iova;
    this.lengthBytes = lengthBytes;
    this.access = access;
    this.start = BigInt(iova);
    this.length = BigInt(lengthBytes);
  }
}

export class Share implements AddressSpace {
  readonly pasid: number | undefined;
  readonly #root: Root;
  readonly #options: AddressSpacesOptions;
  readonly #end: () => void;
  readonly #mappings = new Map<Iova, Mapping>();
  readonly #goneListeners = new Listeners<DmaMapping>();
  #disposed: Promise<void> | undefined;

  /** @param end - Gives up the root when it was this share's alone. */
  constructor(options: AddressSpacesOptions, root: Root, end: () => void) {
    this.pasid = root.pasid;
    this.#options = options;
    this.#root = root;
    this.#end = end;
  }

  async map(
    memory: DmaMemory,
    at: Iova,
    lengthBytes: number,
    access: Access,
    account: DmaAccount,
  ): Promise<DmaMapping> {
    if (this.#disposed) throw new LessorError('LEASE_ENDED', 'the address space is gone');
    const iova = this.#checkRange(memory.offsetBytes, at, lengthBytes);
    const mapsMax = this.#options.mapsMax ?? limits.mapsPerLeaseMax;
    if (this.#mappings.size >= mapsMax) {
      throw new LessorError('QUOTA_EXCEEDED', `more than ${mapsMax} maps`);
    }
    const mapping = new Mapping(iova, lengthBytes, access);
    this.#mapInto(memory, mapping, account);
    this.#mappings.set(iova, mapping);
    return mapping;
  }

  async unmap(mapping: DmaMapping): Promise<void> {
    const own = this.#mappings.get(mapping.iova);
    if (own === undefined || own !== mapping) {
      throw new LessorError('IOVA_NOT_MAPPED', `${hex(mapping.iova)} is no mapping of this lease`);
    }
    this.#remove(own);
    return this.#options.iommufd.settled();
  }

  onMemoryGone(listener: (mapping: DmaMapping) => void): Disposable {
    return this.#goneListeners.add(listener);
  }

  /** Tells the listeners when a mapping of this share begins there. */
  memoryGone(iova: Iova): boolean {
    const mapping = this.#mappings.get(iova);
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
      this.#mappings.clear();
    }
    let count = 0;
    for (const mapping of this.#mappings.values()) {
      this.#remove(mapping);
      count += 1;
      if (count % unmapsPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    this.#end();
    await iommufd.settled();
  }

  #remove(mapping: Mapping): void {
    const { start, length } = mapping;
    this.#options.iommufd.ioasUnmap({ ioasId: this.#root.ioasId, iova: start, length });
    this.#mappings.delete(mapping.iova);
  }

  #checkRange(offsetBytes: number, at: Iova, lengthBytes: number): Iova {
    const { pageBytes, aperture } = this.#options.device;
    const iova = toIova(at);
    toCount(lengthBytes, 'length', iovaEnd);
    if (lengthBytes === 0) throw new LessorError('INVALID_ARGUMENT', 'length 0');
    toCount(offsetBytes, 'offset', Number.MAX_SAFE_INTEGER - iovaEnd);
    if (lengthBytes > limits.mapBytesMax) {
      throw new LessorError('QUOTA_EXCEEDED', `a map of ${lengthBytes} bytes`);
    }
    const end = iova + lengthBytes;
    if (end > Math.min(iovaEnd, Number(aperture.last) + 1) || iova < Number(aperture.start)) {
      throw new LessorError('IOVA_OUTSIDE_WINDOW', `${hex(iova)} to ${hex(end)}`);
    }
    for (const value of [iova, lengthBytes, offsetBytes]) {
      if (!isAligned(value, pageBytes)) {
        throw new LessorError('IOVA_UNALIGNED', `${hex(value)} is no multiple of ${pageBytes}`);
      }
    }
    return iova;
  }

  #mapInto(memory: DmaMemory, mapping: Mapping, account: DmaAccount): void {
    const { iommufd } = this.#options;
    const { ioasId } = this.#root;
    const { start: iova, length } = mapping;
    const flags = IOMMU_IOAS_MAP_FIXED_IOVA | protectionOf(mapping.access);
    try {
      const { fd } = memory;
      // Literals in full: an object that is spread from another gets a shape of its own in V8, and
      // every access to it misses its cache.
      if (fd !== undefined) {
        const start = BigInt(memory.offsetBytes);
        iommufd.ioasMapFile({ flags, ioasId, fd, start, length, iova, account });
      } else if (iommufd.ioasMapUnreachable !== undefined) {
        iommufd.ioasMapUnreachable({ flags, ioasId, length, iova, account });
      } else {
        throw new LessorError('UNSUPPORTED', 'this function maps only memory with a descriptor');
      }
    } catch (error) {
      throw mapError(error, mapping.iova);
    }
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
    case 'ENOMEM':
      return new LessorError('QUOTA_EXCEEDED', 'the memory cannot be pinned', options);
    default:
      return reason;
  }
}
