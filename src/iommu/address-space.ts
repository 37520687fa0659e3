// Address spaces over an iommufd: one of its own for each PASID, and one that all leases share
// under the plain requester id. A share edits only its own mappings.
import { isLessorError, isOsError, LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { Listeners } from '../base/listeners.js';
import { hex, type Iova, iovaEnd, isAligned, toCount, toIova } from '../base/units.js';
import {
  IOMMU_HWPT_ALLOC_PASID,
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

/** The address spaces of one function. */
export interface AddressSpaces extends AsyncDisposable {
  /**
   * Opens an address space of its own under a PASID, or a share of the plain one.
   *
   * @param pasid - 1 to 2^pasidBits - 1, not in use; undefined: the plain requester id.
   * @throws LessorError `INVALID_ARGUMENT`, `UNSUPPORTED`, `ARENA_FULL`
   */
  open(options: { readonly pasid: number | undefined }): AddressSpace;
}

/** An IOAS with its page table, attached. */
interface Root {
  readonly pasid: number | undefined;
  readonly ioasId: number;
  readonly hwptId: number;
  readonly shares: Set<Share>;
}

class Mapping implements DmaMapping {
  readonly iova: Iova;
  readonly lengthBytes: number;
  readonly access: Access;

  constructor(iova: Iova, lengthBytes: number, access: Access) {
    this.iova = iova;
    this.lengthBytes = lengthBytes;
    this.access = access;
  }
}

class Share implements AddressSpace {
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
    this.#mapInto(memory, iova, lengthBytes, access, account);
    const mapping = new Mapping(iova, lengthBytes, access);
    this.#mappings.set(iova, mapping);
    return mapping;
  }

  async unmap(mapping: DmaMapping): Promise<void> {
    if (this.#mappings.get(mapping.iova) !== mapping) {
      throw new LessorError('IOVA_NOT_MAPPED', `${hex(mapping.iova)} is no mapping of this lease`);
    }
    this.#remove(mapping);
    await this.#options.iommufd.settled();
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

  #remove(mapping: DmaMapping): void {
    this.#options.iommufd.ioasUnmap({
      ioasId: this.#root.ioasId,
      iova: BigInt(mapping.iova),
      length: BigInt(mapping.lengthBytes),
    });
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

  #mapInto(
    memory: DmaMemory,
    iova: Iova,
    lengthBytes: number,
    access: Access,
    account: DmaAccount,
  ): void {
    const { iommufd } = this.#options;
    const { fd } = memory;
    const flags = IOMMU_IOAS_MAP_FIXED_IOVA | protectionOf(access);
    const { ioasId } = this.#root;
    const start = BigInt(memory.offsetBytes);
    const length = BigInt(lengthBytes);
    const at = BigInt(iova);
    try {
      // Literals in full: V8 gives each object that is spread from another a shape of its own,
      // which took two thirds of the time of a map.
      if (fd !== undefined) {
        iommufd.ioasMapFile({ flags, ioasId, fd, start, length, iova: at, account });
      } else if (iommufd.ioasMapUnreachable !== undefined) {
        iommufd.ioasMapUnreachable({ flags, ioasId, length, iova: at, account });
      } else {
        throw new LessorError('UNSUPPORTED', 'this function maps only memory with a descriptor');
      }
    } catch (error) {
      throw mapError(error, iova);
    }
  }
}

class Spaces implements AddressSpaces {
  readonly #options: AddressSpacesOptions;
  readonly #roots = new Map<number, Root>();
  readonly #goneSubscription: Disposable;
  #plain: Root | undefined;

  constructor(options: AddressSpacesOptions) {
    this.#options = options;
    this.#goneSubscription = options.iommufd.onMemoryGone(({ ioasId, iova }) => {
      const shares = this.#roots.get(ioasId)?.shares ?? [];
      for (const share of [...shares]) if (share.memoryGone(Number(iova) as Iova)) return;
    });
  }

  open({ pasid }: { readonly pasid: number | undefined }): AddressSpace {
    let root = this.#plain;
    if (pasid !== undefined) root = this.#openPasid(pasid);
    else if (root === undefined) {
      root = this.#openRoot(undefined);
      this.#plain = root;
    }
    const { shares } = root!;
    const share = new Share(this.#options, root!, () => {
      shares.delete(share);
      // The shared one outlives its shares.
      if (pasid !== undefined) this.#closeRoot(root!);
    });
    shares.add(share);
    return share;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const shares = [...this.#roots.values()].flatMap((root) => [...root.shares]);
    await Promise.all(shares.map((share) => share[Symbol.asyncDispose]()));
    if (this.#plain) this.#closeRoot(this.#plain);
    this.#plain = undefined;
    this.#goneSubscription[Symbol.dispose]();
    await this.#options.iommufd.settled();
  }

  #openPasid(pasid: number): Root {
    const { pasidBits } = this.#options.device;
    if (pasidBits === 0) throw new LessorError('UNSUPPORTED', 'the function has no PASIDs');
    if (toCount(pasid, 'pasid', 2 ** pasidBits - 1) === 0) {
      throw new LessorError('INVALID_ARGUMENT', 'pasid 0 is the plain requester id');
    }
    for (const root of this.#roots.values()) {
      // An attach would replace it.
      if (root.pasid === pasid) throw new LessorError('INVALID_ARGUMENT', `pasid ${pasid} in use`);
    }
    return this.#openRoot(pasid);
  }

  #openRoot(pasid: number | undefined): Root {
    const { iommufd, device } = this.#options;
    // Beside PASIDs the plain requester id may use only a table that is fit for PASIDs.
    const flags = device.pasidBits > 0 ? IOMMU_HWPT_ALLOC_PASID : 0;
    const ioasId = iommufd.ioasAlloc();
    let hwptId: number | undefined;
    try {
      hwptId = iommufd.hwptAlloc({ flags, devId: device.id, ptId: ioasId });
      device.attach(hwptId, pasid);
    } catch (error) {
      if (hwptId !== undefined) iommufd.destroy(hwptId);
      iommufd.destroy(ioasId);
      throw causeOf(error);
    }
    const root = { pasid, ioasId, hwptId, shares: new Set<Share>() };
    this.#roots.set(ioasId, root);
    return root;
  }

  #closeRoot(root: Root): void {
    const { iommufd, device } = this.#options;
    this.#roots.delete(root.ioasId);
    device.detach(root.pasid);
    iommufd.destroy(root.hwptId);
    iommufd.destroy(root.ioasId);
  }
}

/** Address spaces of a bound function. Dispose before the device is closed. */
export function openAddressSpaces(options: AddressSpacesOptions): AddressSpaces {
  return new Spaces(options);
}

function protectionOf(access: Access): number {
  if (access === 'read') return IOMMU_IOAS_MAP_READABLE;
  if (access === 'write') return IOMMU_IOAS_MAP_WRITEABLE;
  return IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE;
}

/** The reason that came with an errno, when one did. */
function causeOf(error: unknown): unknown {
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
