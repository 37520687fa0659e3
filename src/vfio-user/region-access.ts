// Region access by message: bytes of any length, and registers of one width. One message out and
// one back per access, one promise, no copy of the reply.
import { LessorError, ProtocolError } from '../base/errors.js';
import { regionAccess, VFIO_USER_REGION_READ, VFIO_USER_REGION_WRITE } from '../uapi/vfio-user.js';
import { frame, headerBytes } from './framing.js';
import type { Requester } from './requester.js';

const noBytes = new Uint8Array(0);
const accessBytes = regionAccess.sizeBytes;

function check(condition: boolean, detail: string): void {
  if (!condition) throw new LessorError('INVALID_ARGUMENT', detail);
}

/** A frame for `count` bytes at `offset`, with room for data in a write. */
export function accessFrame(
  command: number,
  flags: number,
  region: number,
  offset: number,
  count: number,
): Uint8Array {
  check(Number.isInteger(region) && region >= 0 && region < 2 ** 32, `region ${region}`);
  check(Number.isSafeInteger(offset) && offset >= 0, `offset ${offset}`);
  const dataBytes = command === VFIO_USER_REGION_WRITE ? count : 0;
  const bytes = frame(0, command, flags, accessBytes + dataBytes);
  regionAccess.encodeAt({ offset, region, count }, bytes, headerBytes);
  return bytes;
}

/** A reply to a region access repeats the request's fixed part, then has the data of a read. */
function checkReply(ask: Uint8Array, payload: Uint8Array, dataBytes: number): void {
  if (payload.length !== accessBytes + dataBytes) {
    throw new ProtocolError(regionAccess.name, 0, `a reply of ${payload.length} bytes`);
  }
  for (let i = 0; i < accessBytes; i++) {
    if (payload[i] === ask[headerBytes + i]) continue;
    throw new ProtocolError(regionAccess.name, i, 'the reply is about another access');
  }
}

/**
 * One REGION_READ of 1 to the maximum bytes; `read` gets the reply and where its data begins: a
 * view of a few bytes would cost more than all the rest.
 */
export function readOnce<T>(
  requester: Requester,
  region: number,
  offset: number,
  count: number,
  read: (payload: Uint8Array, at: number) => T,
): Promise<T> {
  try {
    const ask = accessFrame(VFIO_USER_REGION_READ, 0, region, offset, count);
    const terms = { replyBytesMax: accessBytes + count };
    return requester.send(VFIO_USER_REGION_READ, ask, terms, ({ payload }) => {
      checkReply(ask, payload, count);
      return read(payload, accessBytes);
    });
  } catch (error) {
    return Promise.reject(error);
  }
}

/** One REGION_WRITE of 1 to the maximum bytes. */
export function writeOnce(
  requester: Requester,
  region: number,
  offset: number,
  data: Uint8Array,
): Promise<void> {
  try {
    const ask = accessFrame(VFIO_USER_REGION_WRITE, 0, region, offset, data.length);
    ask.set(data, headerBytes + accessBytes);
    const terms = { replyBytesMax: accessBytes };
    return requester.send(VFIO_USER_REGION_WRITE, ask, terms, ({ payload }) => {
      checkReply(ask, payload, 0);
    });
  } catch (error) {
    return Promise.reject(error);
  }
}

function dataOf(payload: Uint8Array, at: number): Uint8Array {
  return payload.subarray(at);
}

/** Reads in as many messages as the maximum needs. */
export async function readAll(
  requester: Requester,
  region: number,
  offset: number,
  lengthBytes: number,
): Promise<Uint8Array> {
  check(Number.isSafeInteger(lengthBytes) && lengthBytes >= 0, `${lengthBytes} bytes`);
  if (lengthBytes === 0) return noBytes;
  const { dataBytesMax } = requester;
  if (lengthBytes <= dataBytesMax) {
    return readOnce(requester, region, offset, lengthBytes, dataOf);
  }
  const all = new Uint8Array(lengthBytes);
  for (let done = 0; done < lengthBytes; done += dataBytesMax) {
    const count = Math.min(dataBytesMax, lengthBytes - done);
    all.set(await readOnce(requester, region, offset + done, count, dataOf), done);
  }
  return all;
}

/** Writes in as many messages as the maximum needs. */
export async function writeAll(
  requester: Requester,
  region: number,
  offset: number,
  data: Uint8Array,
): Promise<void> {
  const { dataBytesMax } = requester;
  for (let done = 0; done < data.length; done += dataBytesMax) {
    await writeOnce(requester, region, offset + done, data.subarray(done, done + dataBytesMax));
  }
}
