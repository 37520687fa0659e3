// IOMMU_IOAS_MAP_FILE, and its relative for memory that only messages reach.

import { iovaEnd } from '../../base/units.js';
import type { Fd } from '../../os/fd.js';
import { IOMMU_IOAS_MAP_FIXED_IOVA, IOMMU_IOAS_MAP_WRITEABLE } from '../../uapi/iommufd.js';
import { type LowMapRequest, type MapFileRequest, u64Max } from '../requests.js';
import { Area } from './area.js';
import { findIoas, type SoftContext } from './context.js';
import { pageBytes } from './entry.js';
import type { Ioas } from './ioas.js';
import {
  addArea,
  checkRequest,
  checkSourceLength,
  mapFlagMask,
  mapSource,
  protectionMask,
} from './map-common.js';
import { fail } from './objects.js';
import { Pages, unreachablePages } from './pages.js';

const call = 'IOMMU_IOAS_MAP_FILE';

/** `fd` absent: unreachable memory. `no memory`: a file that is open and has none. */
export type MapRequest = Omit<MapFileRequest, 'fd'> & {
  readonly fd: Fd | 'no memory' | undefined;
};

/** Checks in the order that decides the errno; then maps all or nothing. Returns the IOVA. */
export function mapFile(context: SoftContext, request: MapRequest): bigint {
  const { flags, fd, start, length } = request;
  checkRequest(flags, [request.iova, length], call);
  const ioas = findIoas(context, request.ioasId, call);
  if (length === 0n) throw fail('EINVAL', call, 'length 0');
  if (start > u64Max - length + 1n) throw fail('EOVERFLOW', call, 'start + length');
  const file = fd === 'no memory' ? undefined : fd;
  if (file !== undefined && !file.isOpen) throw fail('EBADF', call, 'closed descriptor');
  checkSourceLength(length, call);
  const what = { flags, iova: request.iova, length, source: start, account: request.account };
  const createPages = () =>
    fd === 'no memory' ? noMemory(context, flags) : pagesOf(context, ioas, file, flags);
  return mapSource(context, ioas, what, createPages, call, file);
}

function noMemory({ payment }: SoftContext, flags: number): Pages {
  const pages = new Pages('no memory', (flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0, undefined);
  pages.payer = payment?.newPayer();
  return pages;
}

function pagesOf(
  context: SoftContext,
  ioas: Ioas,
  fd: Fd | undefined,
  flags: number,
): Pages | undefined {
  const isWritable = (flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0;
  if (fd === undefined) return isWritable ? unreachablePages.writable : unreachablePages.readOnly;
  const { payment } = context;
  if (ioas.domains.length > 0 && !context.keepsFiles && payment === undefined) return undefined;
  const pages = new Pages('file', isWritable, context.files.hold(fd));
  pages.payer = payment?.newPayer();
  return pages;
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
    (flags & ~mapFlagMask) === 0 &&
    (flags & protectionMask) !== 0 &&
    length > 0 &&
    end <= iovaEnd &&
    ((iova | length | start) & (pageBytes - 1)) === 0 &&
    (fd === undefined || fd.isOpen) &&
    !ioas.meetsReservedLow(iova, end) &&
    ioas.areas.isFree(iova, end)
  ) {
    const protection = flags & protectionMask;
    const pages = pagesOf(context, ioas, fd, flags);
    const area = new Area(ioas, iova, end, start, protection, account, pages, undefined);
    pages?.join(area);
    addArea(context, area, call, fd);
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
