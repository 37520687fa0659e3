// The IOMMU of a type1v2 container in place of an iommufd: one address space, for the plain
// requester id of every function in the container.
// @see linux drivers/vfio/vfio_iommu_type1.c
import { type ErrorCode, isOsError, LessorError, OsError } from '../../base/errors.js';
import type { Fd } from '../../os/fd.js';
import type { IoctlOs } from '../../os/ioctl-types.js';
import type { Mapping, MapSpec, MemoryOs } from '../../os/memory-types.js';
import {
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
} from '../../uapi/iommufd.js';
import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
} from '../../uapi/vfio.js';
import type { IommuDevice, MemoryGone, SpaceCalls } from '../iommufd.js';
import {
  type HwptAllocRequest,
  type MapFileRequest,
  type UnmapRequest,
  u64Max,
} from '../requests.js';
import { KernelCalls } from './calls.js';
import { containerInfo, mapDma, unmapDma } from './kernel-container.js';
import { type Type1Facts, type1FactsOf } from './type1-facts.js';

const ioasName = 'VFIO_SET_IOMMU';
const ioasOfContainer = 1;
const hwptOfContainer = 2;

export interface Type1Options {
  readonly os: IoctlOs;
  readonly memory: Pick<MemoryOs, 'map' | 'seals'>;
  /** Its IOMMU is type1v2, and the device's group is in it. Not owned. */
  readonly containerFd: Fd;
}

/**
 * What leases need of an iommufd. Errnos are the kernel's; what an iommufd has no errno for, or
 * another one, is a LessorError.
 */
export class Type1Iommu implements SpaceCalls {
  /** The function, as far as its container tells. Detaching it unmaps everything. */
  readonly device: IommuDevice;
  readonly #calls: KernelCalls;
  readonly #memory: Type1Options['memory'];
  readonly #ids = new Set<number>();

  /** @throws OsError `ENODEV` when nothing can be mapped */
  constructor({ os, memory, containerFd }: Type1Options) {
    this.#calls = new KernelCalls(os, containerFd);
    this.#memory = memory;
    this.device = this.#createDevice(type1FactsOf(containerInfo(this.#calls)));
  }

  ioasAlloc(): number {
    return this.#alloc(ioasOfContainer);
  }

  hwptAlloc({ flags, ptId }: HwptAllocRequest): number {
    if (flags !== 0) throw new OsError('EOPNOTSUPP', ioasName, `flags ${flags}`);
    this.#check(ptId, ioasOfContainer);
    return this.#alloc(hwptOfContainer);
  }

  /**
   * The container takes memory of the process alone, so the file is mapped for as long as the call
   * takes. That is enough: with a group in the container every page is pinned before the call
   * returns, and from then on found by what the IOMMU has. Nothing of ours touches the mapping, so
   * that no truncation can raise a signal; what it cut off cannot be pinned.
   */
  ioasMapFile({ flags, ioasId, fd, start, length, iova }: MapFileRequest): bigint {
    this.#check(ioasId, ioasOfContainer);
    if ((flags & IOMMU_IOAS_MAP_FIXED_IOVA) === 0) {
      throw new OsError('EOPNOTSUPP', 'VFIO_IOMMU_MAP_DMA', 'it places nothing by itself');
    }
    const writable = (flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0;
    const readable = (flags & IOMMU_IOAS_MAP_READABLE) !== 0;
    const spec = { offsetBytes: Number(start), lengthBytes: Number(length), writable };
    using mapping = this.#mapMemory(fd, spec);
    const vaddr = this.#calls.os.addressOf(new Uint8Array(mapping.buffer));
    const access =
      (readable ? VFIO_DMA_MAP_FLAG_READ : 0) | (writable ? VFIO_DMA_MAP_FLAG_WRITE : 0);
    try {
      mapDma(this.#calls, { flags: access, vaddr, iova, size: length });
    } catch (error) {
      throw withReason(error, pinReasons);
    }
    return iova;
  }

  ioasUnmap({ ioasId, iova, length }: UnmapRequest): bigint {
    this.#check(ioasId, ioasOfContainer);
    const isAll = iova === 0n && length === u64Max;
    const { size, errno } = isAll ? this.#unmapAll() : this.#unmap(iova, length);
    const name = 'VFIO_IOMMU_UNMAP_DMA';
    if (errno !== undefined) throw new OsError(errno, name);
    if (size === 0n && !isAll) throw new OsError('ENOENT', name);
    return size;
  }

  destroy(id: number): void {
    if (!this.#ids.has(id)) throw new OsError('ENOENT', ioasName, `object ${id}`);
    if (id === ioasOfContainer && this.#ids.has(hwptOfContainer)) {
      throw new OsError('EBUSY', ioasName, 'its page table is in use');
    }
    this.#ids.delete(id);
  }

  /** An unmap has flushed the IOMMU when it returns. */
  settled(): Promise<void> {
    return Promise.resolve();
  }

  /** The kernel pins what is mapped: it stays, whatever its owner does. */
  onMemoryGone(_listener: (event: MemoryGone) => void): Disposable {
    return { [Symbol.dispose]: () => undefined };
  }

  #alloc(id: number): number {
    if (this.#ids.has(id)) throw new OsError('EBUSY', ioasName, 'a container has one');
    this.#ids.add(id);
    return id;
  }

  #check(id: number, wanted: number): void {
    if (id === wanted && this.#ids.has(id)) return;
    throw new OsError('ENOENT', ioasName, `object ${id}`);
  }

  #createDevice(facts: Type1Facts): IommuDevice {
    const detach = (): void => {
      this.#unmapAll();
    };
    return {
      id: 0,
      pasidBits: 0,
      ...facts,
      attach: (ptId, pasid) => {
        if (pasid !== undefined) throw new OsError('EOPNOTSUPP', ioasName, 'no PASIDs');
        this.#check(ptId, hwptOfContainer);
        return ptId;
      },
      detach,
      close: detach,
      [Symbol.dispose]: detach,
    };
  }

  #unmap(iova: bigint, size: bigint) {
    return unmapDma(this.#calls, { flags: 0, iova, size });
  }

  #unmapAll() {
    return unmapDma(this.#calls, { flags: VFIO_DMA_UNMAP_FLAG_ALL, iova: 0n, size: 0n });
  }

  #mapMemory(fd: Fd, spec: MapSpec): Mapping {
    this.#checkMemory(fd);
    try {
      return this.#memory.map(fd, spec);
    } catch (error) {
      throw withReason(error, mmapReasons);
    }
  }

  /**
   * A mapping of registers would be taken by the kernel, and stay in the IOMMU when the window is
   * revoked: nothing tells a container.
   */
  #checkMemory(fd: Fd): void {
    try {
      this.#memory.seals(fd);
    } catch (error) {
      if (!isOsError(error, 'EINVAL')) throw error;
      const detail = 'a container maps memory alone: a window could not be taken back from it';
      throw new LessorError('UNSUPPORTED', detail, { cause: error });
    }
  }
}

type Reasons = Readonly<Partial<Record<OsError['errno'], readonly [ErrorCode, string]>>>;

const mmapReasons: Reasons = {
  EACCES: ['MEMORY_READ_ONLY', 'the descriptor does not admit it'],
  EPERM: ['MEMORY_WRITE_SEALED', 'the memory is sealed against writing'],
  EINVAL: ['IOVA_UNALIGNED', 'a container maps huge pages in whole ones'],
};

const pinReasons: Reasons = {
  EFAULT: ['MEMORY_TOO_SMALL', 'the memory ends before the range does'],
  ENOSPC: ['QUOTA_EXCEEDED', 'the container takes no more maps: dma_entry_limit of its module'],
};

function withReason(error: unknown, reasons: Reasons): unknown {
  const reason = isOsError(error) ? reasons[error.errno] : undefined;
  if (reason === undefined) return error;
  const [code, detail] = reason;
  return new LessorError(code, detail, { cause: error });
}
