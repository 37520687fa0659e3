// The capability chain of a recorded region info: only what our servers put there.
import {
  decodeRegionCaps as decodeCaps,
  encodeRegionCaps as encodeCaps,
  regionCapsBytes,
  type SparseArea,
} from '../../../src/uapi/region-caps.js';
import { regionInfo } from '../../../src/uapi/vfio-user.js';

/** Undefined: no chain. */
export function decodeRegionCaps(
  payload: Uint8Array,
  capOffset: number,
): readonly SparseArea[] | undefined {
  return decodeCaps(payload, capOffset, Number.MAX_SAFE_INTEGER).areas;
}

/** The bytes behind the region info. */
export function encodeRegionCaps(
  areas: readonly SparseArea[] | undefined,
  capOffset: number,
): Uint8Array {
  if (areas === undefined) return new Uint8Array(0);
  const at = capOffset - regionInfo.sizeBytes;
  const into = new Uint8Array(at + regionCapsBytes({ areas }));
  encodeCaps({ areas }, into, at);
  return into;
}
