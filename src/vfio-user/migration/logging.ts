// Dirty pages: the three features that log what the device writes.
import { assert } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { dmaLoggingRange, featureDmaLogging, featureDmaReport } from '../../uapi/vfio-user.js';
import { refuse } from '../checks.js';
import type { CommandContext } from '../context.js';
import { addressEnd } from '../dma/address.js';
import type { DmaRange, EndpointDirtyPages } from '../endpoint.js';
import { checkBitmap, checkPageSize } from './dirty-bitmap.js';

const { name, sizeBytes } = featureDmaLogging;
const pageField = `${name}.page_size`;

interface LoggingRequest {
  readonly pageBytes: bigint;
  readonly ranges: readonly DmaRange[];
}

function decodeRange(data: Uint8Array, at: number): DmaRange {
  const { iova, length } = dmaLoggingRange.decodeAt(data, at);
  if (length === 0n) refuse(`${dmaLoggingRange.name}.length`, at, 'is 0');
  if (iova + length > addressEnd) refuse(`${dmaLoggingRange.name}.iova`, at, 'wraps');
  return { iova, lengthBytes: length };
}

function decodeLogging(data: Uint8Array): LoggingRequest {
  const { pageSize, numRanges } = featureDmaLogging.decodeAt(data, 0);
  checkPageSize(pageField, pageSize);
  if (numRanges > limits.vfioUserLogRangesMax) refuse(`${name}.num_ranges`, 8, `${numRanges}`);
  const wanted = sizeBytes + numRanges * dmaLoggingRange.sizeBytes;
  if (data.length !== wanted) refuse(name, sizeBytes, `${data.length} bytes, not ${wanted}`);
  const ranges = Array.from({ length: numRanges }, (_, index) =>
    decodeRange(data, sizeBytes + index * dmaLoggingRange.sizeBytes),
  );
  return { pageBytes: pageSize, ranges };
}

function dirtyPagesOf({ endpoint }: CommandContext): EndpointDirtyPages {
  assert(endpoint.dirtyPages !== undefined, 'the feature was there');
  return endpoint.dirtyPages;
}

/** Starting again with the page size in use changes nothing; with another one it is refused. */
export function startLogging(context: CommandContext, data: Uint8Array): Uint8Array {
  const { pageBytes, ranges } = decodeLogging(data);
  const { migration } = context;
  if (migration.logPageBytes !== undefined) {
    if (BigInt(migration.logPageBytes) === pageBytes) return data;
    refuse(pageField, 0, `${pageBytes} while pages of ${migration.logPageBytes} are logged`);
  }
  const chosen = dirtyPagesOf(context).start(Number(pageBytes), ranges);
  assert(Number.isInteger(Math.log2(chosen)), `a page of ${chosen} bytes`);
  migration.logPageBytes = chosen;
  const answer = new Uint8Array(data);
  const numRanges = ranges.length;
  featureDmaLogging.encodeAt({ pageSize: BigInt(chosen), numRanges }, answer, 0);
  return answer;
}

/** Its data are those of a start, or nothing, as in the kernel. Stopping twice is fine. */
export function stopLogging(context: CommandContext, data: Uint8Array): Uint8Array {
  if (data.length > 0) decodeLogging(data);
  if (context.migration.logPageBytes === undefined) return data;
  context.migration.logPageBytes = undefined;
  dirtyPagesOf(context).stop();
  return data;
}

/** Bytes of the largest bitmap that the client was told of. */
function bitmapBytesMax({ agreed }: CommandContext): number {
  const { vfioUserBitmapBytesMax } = limits;
  return Math.min(vfioUserBitmapBytesMax, agreed.migration?.bitmapBytesMax ?? Infinity);
}

/**
 * The bitmap of a range.
 *
 * @param bytesMax - Room for the bitmap.
 * @throws ProtocolError `EINVAL`: logging is off, a page size that is none, a bitmap over
 *   `bytesMax` or the limit; what the endpoint throws.
 */
export function readBitmap(
  context: CommandContext,
  field: string,
  range: DmaRange,
  pageBytes: bigint,
  bytesMax: number,
): Uint8Array {
  const most = Math.min(bytesMax, bitmapBytesMax(context));
  const wanted = checkBitmap(field, range.lengthBytes, pageBytes, most);
  if (context.migration.logPageBytes === undefined) refuse(field, 0, 'nothing is logged');
  const bitmap = dirtyPagesOf(context).report(range, Number(pageBytes));
  assert(bitmap.length === wanted, `a bitmap of ${bitmap.length} bytes instead of ${wanted}`);
  return bitmap;
}

export function report(
  context: CommandContext,
  data: Uint8Array,
  dataBytesMax: number,
): Uint8Array {
  const { iova, length, pageSize } = featureDmaReport.decodeAt(data, 0);
  const range = decodeRange(data, 0);
  const room = dataBytesMax - featureDmaReport.sizeBytes;
  const field = `${featureDmaReport.name}.page_size`;
  const bitmap = readBitmap(context, field, range, pageSize, room);
  const answer = new Uint8Array(featureDmaReport.sizeBytes + bitmap.length);
  featureDmaReport.encodeAt({ iova, length, pageSize }, answer, 0);
  answer.set(bitmap, featureDmaReport.sizeBytes);
  return answer;
}
