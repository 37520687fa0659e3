// IOMMU_IOAS_MAP: memory of the calling process, by its address.
import { IOMMU_IOAS_MAP_WRITEABLE } from '../../uapi/iommufd.js';
import { type MapRequest, u64Max } from '../requests.js';
import { findIoas, type SoftContext } from './context.js';
import { checkRequest, checkSourceLength, mapSource } from './map-common.js';
import { fail } from './objects.js';
import { Pages } from './pages.js';

const call = 'IOMMU_IOAS_MAP';

/** Checks in the order that decides the errno; then maps all or nothing. Returns the IOVA. */
export function mapUser(context: SoftContext, request: MapRequest): bigint {
  const { flags, iova, userVa, length, account } = request;
  checkRequest(flags, [iova, length], call);
  const ioas = findIoas(context, request.ioasId, call);
  if (userVa + length > u64Max) throw fail('EOVERFLOW', call, 'user_va + length');
  checkSourceLength(length, call);
  const isWritable = (flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0;
  const what = { flags, iova, length, source: userVa, account };
  return mapSource(context, ioas, what, () => new Pages('user', isWritable, undefined), call);
}
