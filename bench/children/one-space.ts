// An IOMMU in software with one address space, and memory to map into it page by page.
import { GiB, type Iova, MiB } from '../../src/base/units.js';
import { createSoftIommu } from '../../src/iommu/soft/soft-iommu.js';
import type { AddressSpace, DmaAccount, DmaMapping } from '../../src/iommu/types.js';
import { systemClock } from '../../src/os/clock.js';
import { F_SEAL_SHRINK } from '../../src/os/memory-types.js';
import { memoryOs } from '../shared-memory.js';

const objectBytes = 2 * MiB;
const pageBytes = 4096;
const objectPages = objectBytes / pageBytes;

export interface OneSpace {
  readonly iommu: ReturnType<typeof createSoftIommu>;
  readonly space: AddressSpace;
  /** Maps some page of the memory at a page of the address space. */
  readonly mapPage: (page: number) => Promise<DmaMapping>;
}

/** @param mapsMax - Mappings that there may be at a time. */
export async function createOneSpace(name: string, mapsMax: number): Promise<OneSpace> {
  const fd = memoryOs.create(`lessor-bench-${name}`, objectBytes);
  // As a lease's memory has to be.
  memoryOs.addSeals(fd, F_SEAL_SHRINK);
  const iommu = createSoftIommu({
    arena: memoryOs.createArena(GiB),
    layout: { windowBytes: 2 * MiB },
    memory: memoryOs,
    clock: systemClock,
    pasidBits: 8,
    mapsMax,
  });
  const space = await iommu.spaces.open({ pasid: 7 });
  const account: DmaAccount = {
    placedBytesMax: GiB,
    tablePagesMax: 2 ** 20,
    placedBytes: 0,
    tablePages: 0,
  };
  const mapPage = (page: number): Promise<DmaMapping> => {
    const memory = { fd, offsetBytes: (page % objectPages) * pageBytes };
    return space.map(memory, (page * pageBytes) as Iova, pageBytes, 'read-write', account);
  };
  return { iommu, space, mapPage };
}
