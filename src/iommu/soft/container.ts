// The legacy VFIO container over an IOAS of an iommufd, as Linux emulates it.

import {
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
} from '../../uapi/iommufd.js';
import {
  IOMMU_VFIO_IOAS_CLEAR,
  IOMMU_VFIO_IOAS_GET,
  IOMMU_VFIO_IOAS_SET,
} from '../../uapi/iommufd-ioas.js';
import {
  VFIO_API_VERSION,
  VFIO_DMA_CC_IOMMU,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  VFIO_UNMAP_ALL,
} from '../../uapi/vfio-container.js';
import type { VfioContainer } from '../iommufd.js';
import {
  type ContainerInfo,
  type DmaMapRequest,
  type DmaUnmapRequest,
  type DmaUnmapResult,
  u64Max,
  type VfioIoasRequest,
} from '../requests.js';
import { findIoas, type SoftContext } from './context.js';
import { cutAreas } from './cut.js';
import { pageBytes } from './entry.js';
import { Ioas } from './ioas.js';
import { mapUserAt } from './map-user.js';
import { fail } from './objects.js';
import { disableHugePages } from './options.js';
import { unmapAllReported, unmapReported } from './unmap.js';

/** As many maps as one likes; Linux says so. */
const mapsAvailable = 0xffff_ffff;

export class SoftContainer implements VfioContainer {
  readonly #context: SoftContext;

  constructor(context: SoftContext) {
    this.#context = context;
  }

  /** IOMMU_VFIO_IOAS. @returns The id that it was about. @throws OsError */
  vfioIoas({ op, ioasId }: VfioIoasRequest): number {
    const call = 'IOMMU_VFIO_IOAS';
    switch (op) {
      case IOMMU_VFIO_IOAS_GET:
        return this.#ioas(call).id;
      case IOMMU_VFIO_IOAS_SET:
        this.#context.compatIoas = findIoas(this.#context, ioasId, call);
        return ioasId;
      case IOMMU_VFIO_IOAS_CLEAR:
        this.#context.compatIoas = undefined;
        return ioasId;
      default:
        throw fail('EOPNOTSUPP', call, `operation ${op}`);
    }
  }

  /** The id of the container's IOAS, made where there is none: what a group that joins needs. */
  ensureIoas(): number {
    const { compatIoas, objects } = this.#context;
    if (compatIoas !== undefined) return compatIoas.id;
    const ioas = new Ioas();
    ioas.id = objects.add(ioas);
    this.#context.compatIoas = ioas;
    return ioas.id;
  }

  apiVersion(): number {
    return VFIO_API_VERSION;
  }

  checkExtension(extension: number): number {
    switch (extension) {
      case VFIO_TYPE1_IOMMU:
      case VFIO_TYPE1v2_IOMMU:
      case VFIO_UNMAP_ALL:
        return 1;
      case VFIO_DMA_CC_IOMMU: {
        const { domains } = this.#ioas('VFIO_CHECK_EXTENSION');
        return domains.every(({ format }) => format.enforcesCoherency !== false) ? 1 : 0;
      }
      default:
        return 0;
    }
  }

  setIommu(type: number): void {
    const call = 'VFIO_SET_IOMMU';
    if (type !== VFIO_TYPE1_IOMMU && type !== VFIO_TYPE1v2_IOMMU) {
      throw fail('EINVAL', call, `type ${type}`);
    }
    const ioas = this.#ioas(call);
    // The first version may unmap a part of what was mapped.
    if (type === VFIO_TYPE1_IOMMU) disableHugePages(ioas, call);
  }

  /** A map that allows nothing is taken, until a page table refuses it. */
  mapDma({ flags, vaddr, iova, size }: DmaMapRequest): void {
    const call = 'VFIO_IOMMU_MAP_DMA';
    if ((flags & ~(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)) !== 0) {
      throw fail('EINVAL', call, `flags ${flags}`);
    }
    const ioas = this.#ioas(call);
    let mapFlags = IOMMU_IOAS_MAP_FIXED_IOVA;
    if ((flags & VFIO_DMA_MAP_FLAG_READ) !== 0) mapFlags |= IOMMU_IOAS_MAP_READABLE;
    if ((flags & VFIO_DMA_MAP_FLAG_WRITE) !== 0) mapFlags |= IOMMU_IOAS_MAP_WRITEABLE;
    const what = { flags: mapFlags, iova, length: size, source: vaddr, account: undefined };
    mapUserAt(this.#context, ioas, what, call);
  }

  unmapDma({ flags, iova, size }: DmaUnmapRequest): DmaUnmapResult {
    const call = 'VFIO_IOMMU_UNMAP_DMA';
    if ((flags & ~VFIO_DMA_UNMAP_FLAG_ALL) !== 0) throw fail('EINVAL', call, `flags ${flags}`);
    const ioas = this.#ioas(call);
    if ((flags & VFIO_DMA_UNMAP_FLAG_ALL) !== 0) {
      if (iova !== 0n || size !== 0n) throw fail('EINVAL', call, 'a range and all');
      return unmapAllReported(this.#context, ioas);
    }
    if (!ioas.hasHugePages) {
      // Cuts after the last byte and before the first, in numbers that wrap.
      const cuts = [(iova + size - 1n) & u64Max];
      if (iova > 0n) cuts.push(iova - 1n);
      cutAreas(this.#context, ioas, cuts, call);
    }
    return unmapReported(this.#context, ioas, iova, size);
  }

  containerInfo(): ContainerInfo {
    const ioas = this.#ioas('VFIO_IOMMU_GET_INFO');
    let pageSizes = u64Max;
    for (const { format } of ioas.domains) pageSizes &= format.leafSizes ?? defaultLeafSizes;
    const mask = BigInt(pageBytes) - 1n;
    if ((pageSizes & mask) !== 0n) pageSizes = (pageSizes & ~mask & u64Max) | (mask + 1n);
    if (ioas.alignment > pageSizes) pageSizes = ioas.alignment;
    return { pageSizes, iovaRanges: ioas.freeRanges(), mapsAvailable };
  }

  #ioas(call: string): Ioas {
    const ioas = this.#context.compatIoas;
    if (ioas === undefined) throw fail('ENODEV', call, 'no IOAS for the container');
    return ioas;
  }
}

/** 4 KiB, 2 MiB and 1 GiB. */
const defaultLeafSizes = 0x4020_1000n;
