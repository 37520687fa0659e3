// What a container says its functions can reach. Pure.
import { OsError } from '../../base/errors.js';
import type { ContainerInfo, IovaRange } from '../requests.js';

/** No page table has a larger smallest page. */
const pageBytesMax = 2 ** 30;

export interface Type1Facts {
  /** From the first address to the last; what is reserved between them is refused by the map. */
  readonly aperture: IovaRange;
  /** Smallest page. */
  readonly pageBytes: number;
}

/** @throws OsError `ENODEV` when nothing can be mapped */
export function type1FactsOf({ pageSizes, iovaRanges }: ContainerInfo): Type1Facts {
  const usable = iovaRanges.filter(({ start, last }) => start <= last);
  const first = usable[0];
  const pageBytes = Number(pageSizes & -pageSizes);
  if (first === undefined || pageBytes === 0 || pageBytes > pageBytesMax) {
    throw new OsError('ENODEV', 'VFIO_IOMMU_GET_INFO', 'the container reaches nothing');
  }
  const aperture = usable.reduce(
    ({ start, last }, range) => ({
      start: range.start < start ? range.start : start,
      last: range.last > last ? range.last : last,
    }),
    first,
  );
  return { aperture, pageBytes };
}
