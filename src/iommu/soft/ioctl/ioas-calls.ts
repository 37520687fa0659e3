// Calls about an address space itself: making it, its ranges, and the end of any object.
import {
  iommuDestroy,
  iommuIoasAlloc,
  iommuIoasAllowIovas,
  iommuIoasIovaRanges,
  iommuIovaRange,
} from '../../../uapi/iommufd-ioas.js';
import {
  IOMMU_DESTROY,
  IOMMU_IOAS_ALLOC,
  IOMMU_IOAS_ALLOW_IOVAS,
  IOMMU_IOAS_IOVA_RANGES,
} from '../../../uapi/iommufd-requests.js';
import type { IovaRange } from '../../requests.js';
import { fail } from '../objects.js';
import { checkReserved, command, replyOrUndo } from './command.js';
import { addressAfter, type UserSpace } from './user-space.js';

const rangeBytes = iommuIovaRange.sizeBytes;

export const destroy = command(IOMMU_DESTROY, iommuDestroy, ({ iommufd }, { id }) => {
  iommufd.destroy(id);
});

export const ioasAlloc = command(IOMMU_IOAS_ALLOC, iommuIoasAlloc, ({ iommufd }, fields, reply) => {
  const id = iommufd.ioasAlloc(fields.flags);
  replyOrUndo(
    () => reply({ ...fields, out_ioas_id: id }),
    () => iommufd.destroy(id),
  );
});

export const iovaRanges = command(
  IOMMU_IOAS_IOVA_RANGES,
  iommuIoasIovaRanges,
  ({ iommufd, space }, fields, reply) => {
    const call = 'IOMMU_IOAS_IOVA_RANGES';
    checkReserved(call, fields.__reserved);
    const found = iommufd.ioasIovaRanges(fields.ioas_id, fields.num_iovas);
    found.ranges.forEach((range, index) => {
      const address = addressAfter(fields.allowed_iovas, index * rangeBytes);
      space.write(address, iommuIovaRange.encode(range));
    });
    reply({ ...fields, num_iovas: found.rangeCount, out_iova_alignment: found.alignment });
    if (found.errno !== undefined) throw fail(found.errno, call, `${found.rangeCount} ranges`);
  },
);

export const allowIovas = command(
  IOMMU_IOAS_ALLOW_IOVAS,
  iommuIoasAllowIovas,
  ({ iommufd, space }, fields) => {
    checkReserved('IOMMU_IOAS_ALLOW_IOVAS', fields.__reserved);
    const ranges = rangesAt(space, fields.allowed_iovas, fields.num_iovas);
    iommufd.ioasAllowIovas(fields.ioas_id, ranges);
  },
);

/** Each is read when it is asked for: a bad one before an unreadable one decides the errno. */
function* rangesAt(space: UserSpace, address: bigint, count: number): Generator<IovaRange> {
  for (let index = 0; index < count; index++) {
    const bytes = space.read(addressAfter(address, index * rangeBytes), rangeBytes);
    yield iommuIovaRange.decode(bytes);
  }
}
