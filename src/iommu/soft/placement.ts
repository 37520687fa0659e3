// Where a map goes: the checks of a fixed IOVA, and first-fit for an automatic one.
// @see linux drivers/iommu/iommufd/io_pagetable.c iopt_alloc_iova, iopt_check_iova
import { type IovaRange, u64Max } from '../requests.js';
import { largeBytes, pageBytes } from './entry.js';
import { type Ioas, maximum, minimum } from './ioas.js';
import { fail } from './objects.js';

const page = BigInt(pageBytes);

/** @throws OsError `EINVAL`, `EOVERFLOW`, `EEXIST`; in this order of checks. */
export function checkFixed(ioas: Ioas, iova: bigint, length: bigint, call: string): void {
  if ((iova & ioas.alignmentMask) !== 0n) throw fail('EINVAL', call, 'unaligned iova');
  const last = iova + length - 1n;
  if (last > u64Max) throw fail('EOVERFLOW', call, 'iova + length');
  if (ioas.meetsReserved(iova, last)) throw fail('EINVAL', call, 'reserved iova');
  if (ioas.areas.firstMeeting(iova, last)) throw fail('EEXIST', call, 'mapped iova');
}

/**
 * The lowest IOVA that fits, aligned as well as length and source allow, with the page offset of
 * the source.
 *
 * @param source - Address or file offset of the first byte.
 * @throws OsError `EOVERFLOW`, `EINVAL`, `ENOSPC`
 */
export function placeAutomatically(
  ioas: Ioas,
  source: bigint,
  length: bigint,
  call: string,
): bigint {
  if (length >= u64Max / 2n) throw fail('EOVERFLOW', call, 'length');
  const alignment = alignmentOf(source, length);
  if (alignment <= ioas.alignmentMask) throw fail('EINVAL', call, 'source below the alignment');
  for (const allowed of allowedSpans(ioas)) {
    const first = candidateIn(allowed, alignment, source % page, length);
    if (first === undefined) continue;
    for (const hole of holesWithin(ioas, first, allowed.last)) {
      const iova = candidateIn(hole, alignment, source % page, length);
      if (iova !== undefined) return iova;
    }
  }
  throw fail('ENOSPC', call, 'no free iova');
}

function alignmentOf(source: bigint, length: bigint): bigint {
  let alignment = 1n << BigInt((length - 1n).toString(2).length);
  if (length === 1n) alignment = 1n;
  if (source !== 0n) alignment = minimum(alignment, source & -source);
  return minimum(alignment, BigInt(largeBytes));
}

function candidateIn(
  range: IovaRange,
  alignment: bigint,
  pageOffset: bigint,
  length: bigint,
): bigint | undefined {
  const rounded = range.start + alignment - 1n;
  if (rounded > u64Max) return undefined;
  const candidate = (rounded & ~(alignment - 1n)) | pageOffset;
  // Strictly below: a hole of one byte is never used, as in Linux.
  if (candidate >= range.last || range.last - candidate < length - 1n) return undefined;
  return candidate;
}

/** Allowed ranges, neighbours joined, inside of [page, U64_MAX - page]. */
function* allowedSpans(ioas: Ioas): Generator<IovaRange> {
  const lowest = page;
  const highest = u64Max - page;
  if (ioas.allowed.size === 0) {
    yield { start: lowest, last: highest };
    return;
  }
  let span: { start: bigint; last: bigint } | undefined;
  for (const { start, last } of ioas.allowed) {
    if (span !== undefined && start === span.last + 1n) {
      span.last = last;
      continue;
    }
    if (span !== undefined) yield* clip(span, lowest, highest);
    span = { start, last };
  }
  if (span !== undefined) yield* clip(span, lowest, highest);
}

function* clip(span: IovaRange, lowest: bigint, highest: bigint): Generator<IovaRange> {
  const start = maximum(span.start, lowest);
  const last = minimum(span.last, highest);
  if (start <= last) yield { start, last };
}

/** Holes between areas and reservations inside of [first, last], ascending. */
function* holesWithin(ioas: Ioas, first: bigint, last: bigint): Generator<IovaRange> {
  let at = first;
  for (const used of ioas.used()) {
    if (used.last < at) continue;
    if (used.start > last) break;
    if (used.start > at) yield { start: at, last: used.start - 1n };
    at = used.last + 1n;
    if (at > last) return;
  }
  yield { start: at, last };
}
