// IOMMU_IOAS_MAP_FILE, and its relative for memory that only messages reach.

import { iovaEnd } from '../../base/units.js';
import type { Fd } from '../../os/fd.js';
import {
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
} from '../../uapi/iommufd.js';
import { type LowMapRequest, type MapFileRequest, u64Max } from '../requests.js';
import { Area } from './area.js';
import { findIoas, pin, releaseWhenSettled, type SoftContext } from './context.js';
import { pageBytes } from './entry.js';

import type { Ioas } from './ioas.js';
import { fail } from './objects.js';
import { checkFixed, placeAutomatically } from './placement.js';

const call = 'IOMMU_IOAS_MAP_FILE';
const protectionMask = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE;
const flagMask = protectionMask | IOMMU_IOAS_MAP_FIXED_IOVA;
const exactEnd = 2 ** 53;

/** `fd` absent: unreachable memory. */
export type MapRequest = Omit<MapFileRequest, 'fd'> & { readonly fd: Fd | undefined };

/** Checks in the order that decides the errno; then maps all or nothing. Returns the IOVA. */
export function mapFile(context: SoftContext, request: MapRequest): bigint {
  const { flags, fd, start, length } = request;
  if ((flags & ~flagMask) !== 0) throw fail('EOPNOTSUPP', call, `flags ${flags}`);
  if (request.iova === u64Max || length === u64Max) throw fail('EOVERFLOW', call, 'U64_MAX');
  if ((flags & protectionMask) === 0) throw fail('EINVAL', call, 'neither read nor write');
  const ioas = findIoas(context, request.ioasId, call);
  if (length === 0n) throw fail('EINVAL', call, 'length 0');
  if (start > u64Max - length + 1n) throw fail('EOVERFLOW', call, 'start + length');
  if (fd !== undefined && !fd.isOpen) throw fail('EBADF', call, 'closed descriptor');
  const iova = place(ioas, request);
  const last = iova + length - 1n;
  const at = Number(iova);
  const end = Number(last) + 1;
  const exact = last < exactEnd ? undefined : { start: iova, last };
  const fileStart = start < exactEnd ? Number(start) : start;
  const protection = flags & protectionMask;
  add(
    context,
    new Area(ioas, at, end, fileStart, protection, request.account, fd === undefined, exact),
    fd,
  );
  return iova;
}

/** As `mapFile` at a fixed address, in numbers up to 2^53. */
export function mapLow(context: SoftContext, request: LowMapRequest): void {
  const { flags, ioasId, fd, start, length, iova, account } = request;
  const ioas = context.objects.get(ioasId);
  const end = iova + length;
  // What has a domain and passes all of this passes every check of `mapFile`, which decides what
  // becomes of the rest.
  if (
    ioas?.kind === 'ioas' &&
    ioas.domains.length > 0 &&
    (flags & ~flagMask) === 0 &&
    (flags & protectionMask) !== 0 &&
    length > 0 &&
    end <= iovaEnd &&
    ((iova | length | start) & (pageBytes - 1)) === 0 &&
    (fd === undefined || fd.isOpen) &&
    !ioas.meetsReservedLow(iova, end) &&
    ioas.areas.isFree(iova, end)
  ) {
    const protection = flags & protectionMask;
    const isUnreachable = fd === undefined;
    add(
      context,
      new Area(ioas, iova, end, start, protection, account, isUnreachable, undefined),
      fd,
    );
    return;
  }
  mapFile(context, {
    flags: flags | IOMMU_IOAS_MAP_FIXED_IOVA,
    ioasId,
    fd,
    start: BigInt(start),
    length: BigInt(length),
    iova: BigInt(iova),
    account,
  });
}

function add(context: SoftContext, area: Area, fd: Fd | undefined): void {
  const { ioas } = area;
  if (ioas.domains.length === 0) area.file = fd?.duplicate();
  else fillDomains(context, ioas, area, fd);
  ioas.areas.insert(area);
}

function place(ioas: Ioas, { flags, start, length, iova }: MapRequest): bigint {
  const mask = ioas.alignmentMask;
  if ((length & mask) !== 0n) throw fail('EINVAL', call, 'unaligned length');
  let placed = iova;
  if ((flags & IOMMU_IOAS_MAP_FIXED_IOVA) !== 0) checkFixed(ioas, iova, length, call);
  else placed = placeAutomatically(ioas, start, length, call);
  // The mask covers at most the offset in a page.
  if ((start & mask) !== 0n) throw fail('EINVAL', call, 'unaligned start');
  return placed;
}

function fillDomains(context: SoftContext, ioas: Ioas, area: Area, fd: Fd | undefined): void {
  pin(context, area, fd, call);
  const { domains } = ioas;
  let filled = 0;
  try {
    for (; filled < domains.length; filled++) domains[filled]!.mapArea(area, call);
  } catch (error) {
    const undone = domains.slice(0, filled);
    for (const hwpt of undone) hwpt.unmapArea(area);
    // A device may have walked what was there for a moment.
    releaseWhenSettled(context, [area], undone);
    throw error;
  }
}
