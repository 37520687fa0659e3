// IOMMU_IOAS_MAP: memory of the calling process, by its address.
import { IOMMU_IOAS_MAP_WRITEABLE } from '../../uapi/iommufd.js';
import { type MapRequest, u64Max } from '../requests.js';
import { findIoas, type SoftContext } from './context.js';
import type { Ioas } from './ioas.js';
import { checkRequest, checkSourceLength, mapSource, type NewArea } from './map-common.js';
import { fail } from './objects.js';
import { Pages } from './pages.js';

const mapCall = 'IOMMU_IOAS_MAP';

/** Checks in the order that decides the errno; then maps all or nothing. Returns the IOVA. */
export function mapUser(context: SoftContext, request: MapRequest): bigint {
  const { flags, iova, userVa, length, account } = request;
  checkRequest(flags, [iova, length], mapCall);
  const ioas = findIoas(context, request.ioasId, mapCall);
  return mapUserAt(context, ioas, { flags, iova, length, source: userVa, account }, mapCall);
}

/** What the legacy interface has in common with it. @throws OsError */
export function mapUserAt(context: SoftContext, ioas: Ioas, what: NewArea, call: string): bigint {
  const { flags, length, source } = what;
  if (source + length > u64Max) throw fail('EOVERFLOW', call, 'address + length');
  checkSourceLength(length, call);
  const isWritable = (flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0;
  const createPages = () => {
    const pages = new Pages('user', isWritable, undefined);
    pages.payer = context.payment?.newPayer();
    return pages;
  };
  return mapSource(context, ioas, what, createPages, call);
}
