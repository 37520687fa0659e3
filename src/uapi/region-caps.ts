// The capability chain behind a region info struct: what of a region may be mapped.
// Offsets count from the start of the info struct, as in linux/vfio.h.
import { ProtocolError } from '../base/errors.js';
import {
  VFIO_REGION_INFO_CAP_SPARSE_MMAP,
  vfioInfoCapHeader,
  vfioRegionSparseMmapArea,
  vfioSparseMmapCount,
} from './vfio.js';

/** A part of a region that may be mapped. */
export interface SparseArea {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

const areasOffset = vfioInfoCapHeader.sizeBytes + vfioSparseMmapCount.sizeBytes;
/** More capabilities than this in one chain is a loop or nonsense. */
const chainMax = 32;

/** Bytes of a sparse-mmap capability. */
export function sparseCapBytes(areaCount: number): number {
  return areasOffset + areaCount * vfioRegionSparseMmapArea.sizeBytes;
}

/** Writes a sparse-mmap capability, the last of its chain, at `offsetBytes`. */
export function encodeSparseCap(
  areas: readonly SparseArea[],
  into: Uint8Array,
  offsetBytes: number,
): void {
  const id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
  vfioInfoCapHeader.encodeAt({ id, version: 1, next: 0 }, into, offsetBytes);
  const countAt = offsetBytes + vfioInfoCapHeader.sizeBytes;
  vfioSparseMmapCount.encodeAt({ nr_areas: areas.length }, into, countAt);
  areas.forEach((area, index) => {
    const at = offsetBytes + areasOffset + index * vfioRegionSparseMmapArea.sizeBytes;
    const value = { offset: area.offsetBytes, size: area.lengthBytes };
    vfioRegionSparseMmapArea.encodeAt(value, into, at);
  });
}

function decodeAreas(info: Uint8Array, at: number, regionBytes: number): SparseArea[] {
  const { nr_areas } = vfioSparseMmapCount.decodeAt(info, at + vfioInfoCapHeader.sizeBytes);
  const field = 'vfio_region_info_cap_sparse_mmap';
  if (at + sparseCapBytes(nr_areas) > info.length) {
    throw new ProtocolError(`${field}.nr_areas`, at, `${nr_areas} areas do not fit`);
  }
  const areas: SparseArea[] = [];
  for (let index = 0; index < nr_areas; index++) {
    const areaAt = at + areasOffset + index * vfioRegionSparseMmapArea.sizeBytes;
    const { offset, size } = vfioRegionSparseMmapArea.decodeAt(info, areaAt);
    if (size === 0) continue;
    if (offset + size > regionBytes) {
      throw new ProtocolError(`${field}.areas`, areaAt, 'an area ends outside the region');
    }
    areas.push({ offsetBytes: offset, lengthBytes: size });
  }
  return areas;
}

/**
 * Looks for the sparse-mmap capability.
 *
 * @param info - The info struct and everything behind it.
 * @param capOffset - Where the chain begins; 0 for no chain.
 * @returns Undefined when the chain has none: then all of the region may be mapped.
 * @throws ProtocolError for a chain that loops, leaves `info`, or names areas outside the region.
 */
export function findSparseAreas(
  info: Uint8Array,
  capOffset: number,
  regionBytes: number,
): readonly SparseArea[] | undefined {
  let at = capOffset;
  for (let count = 0; at !== 0; count++) {
    if (count === chainMax) {
      throw new ProtocolError('vfio_info_cap_header.next', at, 'the chain does not end');
    }
    const { id, next } = vfioInfoCapHeader.decodeAt(info, at);
    if (id === VFIO_REGION_INFO_CAP_SPARSE_MMAP) return decodeAreas(info, at, regionBytes);
    at = next;
  }
  return undefined;
}
