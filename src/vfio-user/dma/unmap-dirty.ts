// A client's DMA_UNMAP that asks which pages were written.
import { LessorError, ProtocolError } from '../../base/errors.js';
import {
  dirtyBitmapHeader,
  dmaUnmap,
  VFIO_USER_DMA_UNMAP,
  VFIO_USER_F_DMA_UNMAP_GET_DIRTY_BITMAP,
} from '../../uapi/vfio-user.js';
import type { DmaRange } from '../endpoint.js';
import { bitmapBytes } from '../migration/dirty-bitmap.js';
import type { Requester } from '../requester.js';
import { addressEnd } from './address.js';

const fixedBytes = dmaUnmap.sizeBytes + dirtyBitmapHeader.sizeBytes;

/** @throws LessorError `INVALID_ARGUMENT`; as `VfioUserClient.dmaUnmap`. */
export async function unmapDirty(
  requester: Requester,
  { iova, lengthBytes }: DmaRange,
  pageBytes: number,
): Promise<Uint8Array> {
  const isRange = iova >= 0n && lengthBytes > 0n && iova + lengthBytes <= addressEnd;
  if (!isRange || pageBytes < 1 || !Number.isInteger(Math.log2(pageBytes))) {
    const detail = `${lengthBytes} bytes at ${iova} in pages of ${pageBytes}`;
    throw new LessorError('INVALID_ARGUMENT', detail);
  }
  const pgsize = BigInt(pageBytes);
  const size = bitmapBytes(lengthBytes, pgsize);
  const argsz = fixedBytes + Number(size);
  const payload = new Uint8Array(fixedBytes);
  const flags = VFIO_USER_F_DMA_UNMAP_GET_DIRTY_BITMAP;
  dmaUnmap.encodeAt({ argsz, flags, address: iova, size: lengthBytes }, payload, 0);
  dirtyBitmapHeader.encodeAt({ pgsize, size }, payload, dmaUnmap.sizeBytes);
  return requester.call(VFIO_USER_DMA_UNMAP, payload, { replyBytesMax: argsz }, (reply) => {
    if (reply.payload.length === argsz) return reply.payload.subarray(fixedBytes);
    const detail = `a reply of ${reply.payload.length} bytes instead of ${argsz}`;
    throw new ProtocolError(dirtyBitmapHeader.name, 0, detail);
  });
}
