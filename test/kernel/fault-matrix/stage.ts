// Brings about the states of the matrix, by the same calls on every iommufd.
import type { Iommufd } from '../../../src/iommu/iommufd.js';
import {
  IOMMU_HWPT_ALLOC_PASID,
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
} from '../../../src/uapi/iommufd.js';
import { type MatrixMemory, type PageName, pageBytes } from './matrix-memory.js';

const protections = {
  'read-write': IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
  'read-only': IOMMU_IOAS_MAP_READABLE,
  'write-only': IOMMU_IOAS_MAP_WRITEABLE,
} as const;
export type Protection = keyof typeof protections;

/** An address space, with the page table made for the device, if it is given one. */
export interface Space {
  readonly ioasId: number;
  readonly hwptId: number | undefined;
}

/** What is attached: a device, or what stands for one. */
export interface Port {
  /** What page tables are made for; undefined: it needs none. */
  readonly devId: number | undefined;
  readonly pasidBits: number;
  attach(space: Space, pasid: number | undefined): void;
  detach(pasid: number | undefined): void;
  /** Uses a translation that works. Whatever remembers translations remembers this one. */
  touch(iova: number, pasid: number | undefined): Promise<void>;
}

/** Where `home` has the scratch page. */
export const scratchIova = 0x1000_0000 - 16 * pageBytes;

export class Stage {
  readonly iommufd: Iommufd;
  readonly memory: MatrixMemory;
  readonly port: Port;
  /** Where the device is between the cells. */
  readonly home: Space;
  #spaces: Space[] = [];
  readonly #pasids = new Set<number>();

  constructor(iommufd: Iommufd, memory: MatrixMemory, port: Port) {
    this.iommufd = iommufd;
    this.memory = memory;
    this.port = port;
    this.home = this.createSpace();
    this.#spaces = [];
    this.map(this.home, scratchIova, 'scratch', 'read-write');
    port.attach(this.home, undefined);
  }

  /** Until `goHome`. */
  createSpace(): Space {
    const { devId, pasidBits } = this.port;
    const ioasId = this.iommufd.ioasAlloc();
    const flags = pasidBits > 0 ? IOMMU_HWPT_ALLOC_PASID : 0;
    const hwptId =
      devId === undefined ? undefined : this.iommufd.hwptAlloc({ flags, devId, ptId: ioasId });
    const space = { ioasId, hwptId };
    this.#spaces.push(space);
    return space;
  }

  map({ ioasId }: Space, iova: number, page: PageName, protection: Protection): void {
    this.iommufd.ioasMapFile({
      flags: IOMMU_IOAS_MAP_FIXED_IOVA | protections[protection],
      ioasId,
      fd: this.memory.fd,
      start: BigInt(this.memory.offsetOf(page)),
      length: BigInt(pageBytes),
      iova: BigInt(iova),
    });
  }

  async unmap({ ioasId }: Space, iova: number): Promise<void> {
    this.iommufd.ioasUnmap({ ioasId, iova: BigInt(iova), length: BigInt(pageBytes) });
    await this.iommufd.settled();
  }

  async attach(space: Space, pasid?: number): Promise<void> {
    this.port.attach(space, pasid);
    if (pasid !== undefined) this.#pasids.add(pasid);
    await this.iommufd.settled();
  }

  async detach(pasid?: number): Promise<void> {
    this.port.detach(pasid);
    if (pasid !== undefined) this.#pasids.delete(pasid);
    await this.iommufd.settled();
  }

  /** Ends the state. */
  async goHome(): Promise<void> {
    for (const pasid of [...this.#pasids]) await this.detach(pasid);
    await this.attach(this.home);
    for (const { ioasId, hwptId } of this.#spaces.splice(0)) {
      if (hwptId !== undefined) this.iommufd.destroy(hwptId);
      this.iommufd.destroy(ioasId);
    }
    await this.iommufd.settled();
  }
}
