// DMA_UNMAP: what it asks for, judged.
import {
  dirtyBitmapHeader,
  dmaUnmap,
  VFIO_USER_F_DMA_UNMAP_ALL,
  VFIO_USER_F_DMA_UNMAP_GET_DIRTY_BITMAP,
} from '../../uapi/vfio-user.js';
import { checkArgsz, refuse } from '../checks.js';
import type { DmaRange } from '../endpoint.js';
import { addressEnd } from './address.js';

export interface UnmapRequest {
  readonly range: DmaRange | 'all';
  /** Bytes that the reply may take. */
  readonly argsz: number;
  /** Present: the pages written by the device are to be told. */
  readonly bitmap?: { readonly pageBytes: bigint; readonly lengthBytes: bigint };
}

const unmapBytesMax = 1_048_576;

/** @throws ProtocolError `EINVAL` */
export function decodeUnmap(payload: Uint8Array): UnmapRequest {
  const { argsz, flags, address, size } = dmaUnmap.decodeAt(payload, 0);
  const { name, sizeBytes } = dmaUnmap;
  checkArgsz(name, argsz, sizeBytes);
  if (argsz > unmapBytesMax) refuse(`${name}.argsz`, 0, `${argsz}`);
  const all = (flags & VFIO_USER_F_DMA_UNMAP_ALL) !== 0;
  const wantsBitmap = (flags & VFIO_USER_F_DMA_UNMAP_GET_DIRTY_BITMAP) !== 0;
  if (all && wantsBitmap) refuse(`${name}.flags`, 4, 'all and dirty bitmap at once');
  const wanted = sizeBytes + (wantsBitmap ? dirtyBitmapHeader.sizeBytes : 0);
  if (payload.length !== wanted) refuse(name, sizeBytes, `${payload.length} bytes`);
  if (all) {
    if (address !== 0n || size !== 0n) refuse(`${name}.address`, 8, 'all, with a range');
    return { range: 'all', argsz };
  }
  if (size === 0n) refuse(`${name}.size`, 16, 'is 0');
  if (address + size > addressEnd) refuse(`${name}.address`, 8, 'wraps with its size');
  const range = { iova: address, lengthBytes: size };
  if (!wantsBitmap) return { range, argsz };
  const bitmap = dirtyBitmapHeader.decodeAt(payload, sizeBytes);
  return { range, argsz, bitmap: { pageBytes: bitmap.pgsize, lengthBytes: bitmap.size } };
}
