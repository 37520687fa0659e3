// What all maps have in common: their first checks, where they go, and filling the domains.
import type { Fd } from '../../os/fd.js';
import {
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
} from '../../uapi/iommufd.js';
import { u64Max } from '../requests.js';
import type { DmaAccount } from '../types.js';
import { type Area, createArea } from './area.js';
import { releaseWhenSettled, type SoftContext } from './context.js';
import { pageBytes } from './entry.js';
import type { Ioas } from './ioas.js';
import { fail } from './objects.js';
import type { Pages } from './pages.js';
import { pin } from './pin.js';
import { checkFixed, placeAutomatically } from './placement.js';

export const protectionMask = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE;
export const mapFlagMask = protectionMask | IOMMU_IOAS_MAP_FIXED_IOVA;

const page = BigInt(pageBytes);

/** What Linux looks at before any object. @throws OsError `EOPNOTSUPP`, `EOVERFLOW`, `EINVAL` */
export function checkRequest(flags: number, numbers: readonly bigint[], call: string): void {
  if ((flags & ~mapFlagMask) !== 0) throw fail('EOPNOTSUPP', call, `flags ${flags}`);
  if (numbers.includes(u64Max)) throw fail('EOVERFLOW', call, 'U64_MAX');
  if ((flags & protectionMask) === 0) throw fail('EINVAL', call, 'neither read nor write');
}

/** Whether a source can be as long. @throws OsError `EINVAL` */
export function checkSourceLength(length: bigint, call: string): void {
  if (length === 0n) throw fail('EINVAL', call, 'length 0');
  if (length > u64Max - page) throw fail('EINVAL', call, 'a length beyond any memory');
}

/** What goes where. */
export interface Place {
  readonly flags: number;
  readonly iova: bigint;
  readonly length: bigint;
  /** Address or offset of its first byte. */
  readonly source: bigint;
}

export interface NewArea extends Place {
  readonly account: DmaAccount | undefined;
}

/** The IOVA. @throws OsError `EINVAL`, `EOVERFLOW`, `EEXIST`, `ENOSPC` */
export function place(ioas: Ioas, { flags, iova, length, source }: Place, call: string): bigint {
  if ((length & ioas.alignmentMask) !== 0n) throw fail('EINVAL', call, 'unaligned length');
  if ((flags & IOMMU_IOAS_MAP_FIXED_IOVA) === 0) {
    return placeAutomatically(ioas, source, length, call);
  }
  checkFixed(ioas, iova, length, call);
  return iova;
}

/** Maps one new area of a source. Returns the IOVA. @throws OsError */
export function mapSource(
  context: SoftContext,
  ioas: Ioas,
  what: NewArea,
  createPages: () => Pages | undefined,
  call: string,
  fd: Fd | undefined = undefined,
): bigint {
  const { flags, length, source, account } = what;
  const iova = place(ioas, what, call);
  checkSource(ioas, source, length, call);
  const pages = createPages();
  const area = createArea(ioas, iova, length, source, flags & protectionMask, account, pages);
  pages?.join(area);
  addArea(context, area, call, fd);
  return iova;
}

/** Once it is placed. @throws OsError `EINVAL`, `EOVERFLOW` */
export function checkSource(ioas: Ioas, source: bigint, length: bigint, call: string): void {
  // The mask covers at most the offset in a page.
  if ((source & ioas.alignmentMask) !== 0n) throw fail('EINVAL', call, 'unaligned source');
  // Linux counts the pages of the source in 64 bits.
  if (length + (source % page) > u64Max - page + 1n) throw fail('EOVERFLOW', call, 'pages');
}

/**
 * Adds a new area to its IOAS and the domains of that. All or nothing; it ends when it is refused.
 *
 * @param fd - The file of an area without `pages`.
 */
export function addArea(
  context: SoftContext,
  area: Area,
  call: string,
  fd: Fd | undefined = undefined,
): void {
  const { ioas } = area;
  if (ioas.domains.length > 0) fill(context, area, call, fd);
  else if (area.pages?.canPlaceAgain === false) pinOrEnd(context, area, call, fd);
  ioas.areas.insert(area);
}

/** As `addArea` for several areas of one IOAS: all or none. */
export function addAreas(context: SoftContext, areas: readonly Area[], call: string): void {
  let added = 0;
  try {
    for (; added < areas.length; added++) addArea(context, areas[added]!, call);
  } catch (error) {
    for (const area of areas.slice(added + 1)) area.pages?.leave(area);
    removeAreas(context, areas.slice(0, added));
    throw error;
  }
}

/** Takes areas of one IOAS out of it and of its domains, and ends them. */
export function removeAreas(context: SoftContext, areas: readonly Area[]): void {
  const ioas = areas[0]?.ioas;
  if (ioas === undefined) return;
  for (const area of areas) {
    ioas.areas.remove(area);
    for (const hwpt of ioas.domains) hwpt.unmapArea(area);
  }
  releaseWhenSettled(context, areas, ioas.domains);
}

function fill(context: SoftContext, area: Area, call: string, fd: Fd | undefined): void {
  const { domains } = area.ioas;
  pinOrEnd(context, area, call, fd);
  let mapped = 0;
  try {
    for (; mapped < domains.length; mapped++) domains[mapped]!.mapArea(area, call);
  } catch (error) {
    const undone = domains.slice(0, mapped);
    for (const hwpt of undone) hwpt.unmapArea(area);
    // A device may have walked what was there for a moment.
    releaseWhenSettled(context, [area], undone);
    throw error;
  }
}

function pinOrEnd(context: SoftContext, area: Area, call: string, fd: Fd | undefined): void {
  try {
    pin(context, area, call, fd);
  } catch (error) {
    area.pages?.leave(area);
    throw error;
  }
}
