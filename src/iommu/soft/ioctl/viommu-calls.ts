// Calls about virtual IOMMUs, of which there are none: the errnos are those of devices whose IOMMU
// has no support for them. So is the address of a page of a device without an IOMMU.
import { iommuIoasNoiommuGetPa } from '../../../uapi/iommufd-ioas.js';
import {
  IOMMU_HW_QUEUE_ALLOC,
  IOMMU_IOAS_NOIOMMU_GET_PA,
  IOMMU_VDEVICE_ALLOC,
  IOMMU_VEVENTQ_ALLOC,
  IOMMU_VIOMMU_ALLOC,
} from '../../../uapi/iommufd-requests.js';
import {
  IOMMU_HW_QUEUE_TYPE_DEFAULT,
  IOMMU_VEVENTQ_TYPE_DEFAULT,
  IOMMU_VIOMMU_TYPE_DEFAULT,
  iommuHwQueueAlloc,
  iommuVdeviceAlloc,
  iommuVeventqAlloc,
  iommuViommuAlloc,
} from '../../../uapi/iommufd-viommu.js';
import { u64Max } from '../../requests.js';
import { fail } from '../objects.js';
import { checkReserved, command } from './command.js';

const eventDepthMax = 2 ** 19;

/** Nothing is asked of the device but whether it is there. */
export const viommuAlloc = command(
  IOMMU_VIOMMU_ALLOC,
  iommuViommuAlloc,
  ({ iommufd }, { flags, type, dev_id: devId }) => {
    const call = 'IOMMU_VIOMMU_ALLOC';
    if (flags !== 0 || type === IOMMU_VIOMMU_TYPE_DEFAULT) {
      throw fail('EOPNOTSUPP', call, `flags ${flags}, type ${type}`);
    }
    iommufd.hwInfo({ flags: 0, devId, dataType: 0, dataLenMax: 0 });
    throw fail('EOPNOTSUPP', call, 'no virtual IOMMUs');
  },
);

export const vdeviceAlloc = command(
  IOMMU_VDEVICE_ALLOC,
  iommuVdeviceAlloc,
  (_caller, { viommu_id }) => {
    throw noViommu('IOMMU_VDEVICE_ALLOC', viommu_id);
  },
);

export const veventqAlloc = command(IOMMU_VEVENTQ_ALLOC, iommuVeventqAlloc, (_caller, fields) => {
  const call = 'IOMMU_VEVENTQ_ALLOC';
  const { flags, type, veventq_depth: depth } = fields;
  checkReserved(call, fields.__reserved);
  if (flags !== 0 || type === IOMMU_VEVENTQ_TYPE_DEFAULT) {
    throw fail('EOPNOTSUPP', call, `flags ${flags}, type ${type}`);
  }
  if (depth === 0 || depth > eventDepthMax) throw fail('EINVAL', call, `depth ${depth}`);
  throw noViommu(call, fields.viommu_id);
});

export const hwQueueAlloc = command(IOMMU_HW_QUEUE_ALLOC, iommuHwQueueAlloc, (_caller, fields) => {
  const call = 'IOMMU_HW_QUEUE_ALLOC';
  const { flags, type, length } = fields;
  if (flags !== 0 || type === IOMMU_HW_QUEUE_TYPE_DEFAULT) {
    throw fail('EOPNOTSUPP', call, `flags ${flags}, type ${type}`);
  }
  if (length === 0n) throw fail('EINVAL', call, 'length 0');
  if (fields.nesting_parent_iova > u64Max - length + 1n) {
    throw fail('EOVERFLOW', call, 'iova + length');
  }
  throw noViommu(call, fields.viommu_id);
});

export const noiommuGetPa = command(IOMMU_IOAS_NOIOMMU_GET_PA, iommuIoasNoiommuGetPa, () => {
  throw fail('EOPNOTSUPP', 'IOMMU_IOAS_NOIOMMU_GET_PA', 'every device has an IOMMU');
});

function noViommu(call: string, id: number): unknown {
  return fail('ENOENT', call, `viommu ${id}`);
}
