// IOMMU_IOAS_MAP_FILE, and its relative for memory that only messages reach.
import type { Fd } from '../../os/fd.js';
import {
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
  type MapFileRequest,
  u64Max,
} from '../iommufd.js';
import { findIoas, pin, releaseWhenSettled, type SoftContext } from './context.js';
import type { Hwpt } from './hwpt.js';
import type { Area, Ioas } from './ioas.js';
import { fail } from './objects.js';
import { checkFixed, placeAutomatically } from './placement.js';

const call = 'IOMMU_IOAS_MAP_FILE';
const protectionMask = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE;
const flagMask = protectionMask | IOMMU_IOAS_MAP_FIXED_IOVA;

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
  const area: Area = {
    ioas,
    start: iova,
    last: iova + length - 1n,
    protection: flags & protectionMask,
    fileStart: start,
    account: request.account,
    isUnreachable: fd === undefined,
    file: undefined,
    extents: undefined,
  };
  if (ioas.domains.size === 0) area.file = fd?.duplicate();
  else fillDomains(context, ioas, area, fd);
  ioas.areas.insert(area);
  return iova;
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
  const filled: Hwpt[] = [];
  try {
    for (const hwpt of ioas.domains) {
      hwpt.mapArea(area, call);
      filled.push(hwpt);
    }
  } catch (error) {
    for (const hwpt of filled) hwpt.unmapArea(area);
    // A device may have walked what was there for a moment.
    releaseWhenSettled(context, [area], filled);
    throw error;
  }
}
