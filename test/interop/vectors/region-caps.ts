// The capability chain of a recorded region info: only what our servers put there.

import type { SparseArea } from '../../../src/uapi/region-caps.js';
import { encodeSparseCap, findSparseAreas, sparseCapBytes } from '../../../src/uapi/region-caps.js';
import { regionInfo } from '../../../src/uapi/vfio-user.js';

/** Undefined: no chain. */
export function decodeRegionCaps(
  payload: Uint8Array,
  capOffset: number,
): readonly SparseArea[] | undefined {
  return findSparseAreas(payload, capOffset, Number.MAX_SAFE_INTEGER);
}

/** The bytes behind the region info. */
export function encodeRegionCaps(
  areas: readonly SparseArea[] | undefined,
  capOffset: number,
): Uint8Array {
  if (areas === undefined) return new Uint8Array(0);
  const at = capOffset - regionInfo.sizeBytes;
  const into = new Uint8Array(at + sparseCapBytes(areas.length));
  encodeSparseCap(areas, into, at);
  return into;
}
