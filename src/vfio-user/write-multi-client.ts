// A client's REGION_WRITE_MULTI.
import { LessorError, ProtocolError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import {
  regionWriteMulti,
  regionWriteMultiEntry,
  VFIO_USER_REGION_WRITE_MULTI,
} from '../uapi/vfio-user.js';
import { frame, headerBytes } from './framing.js';
import type { Requester } from './requester.js';

/** One write among several. */
export interface SmallWrite {
  readonly region: number;
  readonly offsetBytes: number;
  /** 1 to 8 bytes. */
  readonly data: Uint8Array;
}

const entryBytes = regionWriteMultiEntry.sizeBytes;
const countMax = Math.floor(limits.vfioUserDataBytesMax / entryBytes);

function checkWrite({ region, offsetBytes, data }: SmallWrite): void {
  const isRegion = Number.isInteger(region) && region >= 0 && region < 2 ** 32;
  const isOffset = Number.isSafeInteger(offsetBytes) && offsetBytes >= 0;
  if (isRegion && isOffset && data.length >= 1 && data.length <= 8) return;
  const detail = `${data.length} bytes at ${offsetBytes} of region ${region}`;
  throw new LessorError('INVALID_ARGUMENT', detail);
}

/** @throws LessorError `INVALID_ARGUMENT`, `UNSUPPORTED` */
export function multiFrame(
  requester: Requester,
  writes: readonly SmallWrite[],
  flags: number,
): Uint8Array {
  if (!requester.peer.writeMultiple) {
    throw new LessorError('UNSUPPORTED', 'the server takes one write at a time');
  }
  if (writes.length === 0 || writes.length > countMax) {
    throw new LessorError('INVALID_ARGUMENT', `${writes.length} writes`);
  }
  const payloadBytes = regionWriteMulti.sizeBytes + writes.length * entryBytes;
  const bytes = frame(0, VFIO_USER_REGION_WRITE_MULTI, flags, payloadBytes);
  regionWriteMulti.encodeAt({ count: writes.length }, bytes, headerBytes);
  writes.forEach((write, index) => {
    checkWrite(write);
    const { region, offsetBytes: offset } = write;
    const data = new Uint8Array(8);
    data.set(write.data);
    const at = headerBytes + regionWriteMulti.sizeBytes + index * entryBytes;
    const value = { offset, region, count: write.data.length, data };
    regionWriteMultiEntry.encodeAt(value, bytes, at);
  });
  return bytes;
}

export async function sendMulti(
  requester: Requester,
  writes: readonly SmallWrite[],
): Promise<number> {
  const ask = multiFrame(requester, writes, 0);
  const terms = { replyBytesMax: regionWriteMulti.sizeBytes };
  return requester.send(VFIO_USER_REGION_WRITE_MULTI, ask, terms, ({ payload }) => {
    const { count } = regionWriteMulti.decode(payload);
    if (count <= writes.length) return count;
    const detail = `${count} of ${writes.length} writes were done`;
    throw new ProtocolError(`${regionWriteMulti.name}.count`, 0, detail);
  });
}
