// The capability chain behind a region info struct: what of a region may be mapped.
// Offsets count from the start of the info struct, as in linux/vfio.h.
import { ProtocolError } from '../base/errors.js';
import {
  VFIO_REGION_INFO_CAP_SPARSE_MMAP,
  VFIO_REGION_INFO_CAP_TYPE,
  vfioInfoCapHeader,
  vfioRegionInfoCapSparseMmap,
  vfioRegionInfoCapType,
  vfioRegionSparseMmapArea,
} from './vfio.js';

/** A part of a region that may be mapped. */
export interface SparseArea {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

const areasOffset = vfioRegionInfoCapSparseMmap.sizeBytes;
/** More capabilities than this in one chain is a loop or nonsense. */
const chainMax = 32;

/** What a region past the PCI ones is. */
export interface RegionType {
  readonly type: number;
  readonly subtype: number;
}

/** What is said of a region behind its info struct. */
export interface RegionCaps {
  /** Absent or empty: no sparse-mmap capability. */
  readonly areas?: readonly SparseArea[] | undefined;
  readonly type?: RegionType | undefined;
}

const typeBytes = vfioRegionInfoCapType.sizeBytes;

function sparseCapBytes(areaCount: number): number {
  return areasOffset + areaCount * vfioRegionSparseMmapArea.sizeBytes;
}

function encodeSparseCap(
  areas: readonly SparseArea[],
  into: Uint8Array,
  offsetBytes: number,
  next: number,
): void {
  const id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
  const cap = { header: { id, version: 1, next }, nr_areas: areas.length };
  vfioRegionInfoCapSparseMmap.encodeAt(cap, into, offsetBytes);
  areas.forEach((area, index) => {
    const at = offsetBytes + areasOffset + index * vfioRegionSparseMmapArea.sizeBytes;
    const value = { offset: area.offsetBytes, size: area.lengthBytes };
    vfioRegionSparseMmapArea.encodeAt(value, into, at);
  });
}

/** Bytes of the chain; 0: there is none. */
export function regionCapsBytes({ areas = [], type }: RegionCaps): number {
  const sparse = areas.length === 0 ? 0 : sparseCapBytes(areas.length);
  return sparse + (type === undefined ? 0 : typeBytes);
}

/** Writes the chain at `offsetBytes` of the info. */
export function encodeRegionCaps(
  { areas = [], type }: RegionCaps,
  into: Uint8Array,
  offsetBytes: number,
): void {
  let at = offsetBytes;
  if (areas.length > 0) {
    const end = at + sparseCapBytes(areas.length);
    encodeSparseCap(areas, into, at, type === undefined ? 0 : end);
    at = end;
  }
  if (type === undefined) return;
  const id = VFIO_REGION_INFO_CAP_TYPE;
  const header = { id, version: 1, next: 0 };
  vfioRegionInfoCapType.encodeAt({ header, ...type }, into, at);
}

function decodeAreas(info: Uint8Array, at: number, regionBytes: number): SparseArea[] {
  const { nr_areas } = vfioRegionInfoCapSparseMmap.decodeAt(info, at);
  const field = 'vfio_region_info_cap_sparse_mmap';
  const areas: SparseArea[] = [];
  // However many are said to be there, the first that does not fit in `info` is refused.
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

function decodeType(info: Uint8Array, at: number): RegionType {
  const { type, subtype } = vfioRegionInfoCapType.decodeAt(info, at);
  return { type, subtype };
}

/**
 * Reads the capability chain. Of two capabilities of one kind the first counts; unknown ones are
 * passed over.
 *
 * @param info - The info struct and everything behind it.
 * @param capOffset - Where the chain begins; 0 for no chain.
 * @returns Without `areas` all of a mappable region may be mapped.
 * @throws ProtocolError for a chain that loops, leaves `info`, or names areas outside the region.
 */
export function decodeRegionCaps(
  info: Uint8Array,
  capOffset: number,
  regionBytes: number,
): RegionCaps {
  let areas: readonly SparseArea[] | undefined;
  let type: RegionType | undefined;
  let at = capOffset;
  for (let count = 0; at !== 0; count++) {
    if (count === chainMax) {
      throw new ProtocolError('vfio_info_cap_header.next', at, 'the chain does not end');
    }
    const { id, next } = vfioInfoCapHeader.decodeAt(info, at);
    if (id === VFIO_REGION_INFO_CAP_SPARSE_MMAP) areas ??= decodeAreas(info, at, regionBytes);
    if (id === VFIO_REGION_INFO_CAP_TYPE) type ??= decodeType(info, at);
    at = next;
  }
  return { areas, type };
}
