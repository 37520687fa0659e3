// A type1v2 container that answers as the kernel's, for memory of fake descriptors.
import { OsError } from '../../base/errors.js';
import type { Fd } from '../../os/fd.js';
import type { Mapping, MapSpec, MemoryOs } from '../../os/memory-types.js';
import * as uapi from '../../uapi/vfio.js';
import type { IovaRange } from '../requests.js';
import type { FakeIoctl } from './fake-ioctl.js';

export interface ContainerMap {
  readonly flags: number;
  readonly iova: bigint;
  readonly size: bigint;
  /** What lay at its address, by the label of its file. */
  readonly label: number;
  readonly offsetBytes: number;
}

/** What the kernel would say of an address where nothing is mapped. */
const nothing = { label: -1, offsetBytes: 0 };

export class FakeContainer {
  readonly maps = new Map<bigint, ContainerMap>();
  /** Mappings of the process that nobody has undone. */
  mappingCount = 0;
  mapsMax = 65_535;
  pageSizes = 0x40201000n;
  iovaRanges: readonly IovaRange[] = [
    { start: 0n, last: 0xfedf_ffffn },
    { start: 0xfef0_0000n, last: 2n ** 48n - 1n },
  ];
  readonly memory: Pick<MemoryOs, 'map' | 'seals'>;
  readonly #os: FakeIoctl;
  /** By buffer: what is mapped of which file. */
  readonly #mapped = new Map<ArrayBufferLike, { label: number; offsetBytes: number }>();

  constructor(os: FakeIoctl) {
    this.#os = os;
    this.memory = {
      map: (fd, spec) => this.#mapMemory(fd, spec),
      seals: (fd) => {
        if (os.files.file(fd.number)?.kind !== 'memory') throw new OsError('EINVAL', 'fcntl');
        return 0;
      },
    };
    os.on(uapi.VFIO_IOMMU_GET_INFO, (bytes) => this.#info(bytes));
    os.on(uapi.VFIO_IOMMU_MAP_DMA, (bytes) => this.#map(bytes));
    os.on(uapi.VFIO_IOMMU_UNMAP_DMA, (bytes) => this.#unmap(bytes));
  }

  #mapMemory(fd: Fd, { offsetBytes, lengthBytes, writable: _ }: MapSpec): Mapping {
    const file = this.#os.files.file(fd.number)!;
    // No test needs the bytes; that it would be gigabytes is what some are about.
    const buffer = new ArrayBuffer(1);
    this.#mapped.set(buffer, { label: file.label, offsetBytes });
    this.mappingCount += 1;
    return {
      buffer,
      lengthBytes,
      revoked: false,
      poison: () => undefined,
      [Symbol.dispose]: () => {
        this.#mapped.delete(buffer);
        this.mappingCount -= 1;
      },
    };
  }

  #map(bytes: Uint8Array): void {
    const { flags, iova, size, vaddr } = uapi.vfioIommuType1DmaMap.decode(bytes);
    const end = iova + size;
    for (const map of this.maps.values()) {
      if (map.iova < end && iova < map.iova + map.size) throw new OsError('EEXIST', 'ioctl');
    }
    if (this.maps.size >= this.mapsMax) throw new OsError('ENOSPC', 'ioctl');
    const isInside = this.iovaRanges.some(({ start, last }) => iova >= start && end - 1n <= last);
    if (!isInside) throw new OsError('EINVAL', 'ioctl');
    const what = this.#mapped.get(this.#os.at(vaddr).buffer) ?? nothing;
    if (what === nothing) throw new OsError('EFAULT', 'ioctl');
    this.maps.set(iova, { flags, iova, size, ...what });
  }

  #unmap(bytes: Uint8Array): void {
    const request = uapi.vfioIommuType1DmaUnmap.decode(bytes);
    const isAll = (request.flags & uapi.VFIO_DMA_UNMAP_FLAG_ALL) !== 0;
    const last = isAll ? 2n ** 64n - 1n : request.iova + request.size - 1n;
    if (isAll ? request.iova + request.size !== 0n : request.size === 0n) {
      throw new OsError('EINVAL', 'ioctl');
    }
    const inside: ContainerMap[] = [];
    for (const map of this.maps.values()) {
      const mapLast = map.iova + map.size - 1n;
      if (map.iova > last || mapLast < request.iova) continue;
      if (map.iova < request.iova || mapLast > last) throw new OsError('EINVAL', 'ioctl');
      inside.push(map);
    }
    for (const map of inside) this.maps.delete(map.iova);
    const size = inside.reduce((sum, map) => sum + map.size, 0n);
    uapi.vfioIommuType1DmaUnmap.encodeAt({ ...request, size }, bytes, 0);
  }

  /** As the kernel: the capabilities only where there is room for all of them. */
  #info(bytes: Uint8Array): void {
    const header = uapi.vfioIommuType1Info;
    const capability = uapi.vfioIommuType1InfoCapIovaRange;
    const rangeBytes = uapi.vfioIovaRange.sizeBytes;
    const argsz = header.sizeBytes + capability.sizeBytes + this.iovaRanges.length * rangeBytes;
    const hasRoom = bytes.length >= argsz;
    const at = header.sizeBytes;
    const value = {
      argsz: hasRoom ? bytes.length : argsz,
      flags: uapi.VFIO_IOMMU_INFO_PGSIZES | uapi.VFIO_IOMMU_INFO_CAPS,
      iova_pgsizes: this.pageSizes,
      cap_offset: hasRoom ? at : 0,
      pad: 0,
    };
    header.encodeAt(value, bytes, 0);
    if (!hasRoom) return;
    const id = uapi.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE;
    const list = { header: { id, version: 1, next: 0 }, nr_iovas: this.iovaRanges.length };
    capability.encodeAt({ ...list, reserved: 0 }, bytes, at);
    for (const [index, { start, last }] of this.iovaRanges.entries()) {
      const rangeAt = at + capability.sizeBytes + index * rangeBytes;
      uapi.vfioIovaRange.encodeAt({ start, end: last }, bytes, rangeAt);
    }
  }
}
