// IOMMU_GET_HW_INFO.
import {
  IOMMU_HW_CAP_DIRTY_TRACKING,
  IOMMU_HW_INFO_FLAG_INPUT_TYPE,
  IOMMU_HW_INFO_TYPE_DEFAULT,
  IOMMU_HW_INFO_TYPE_NONE,
} from '../../uapi/iommufd.js';
import type { HwInfo, HwInfoRequest } from '../requests.js';
import type { SoftContext } from './context.js';
import { fail } from './objects.js';

const call = 'IOMMU_GET_HW_INFO';

/** @throws OsError `EOPNOTSUPP`, `ENOENT` */
export function readHwInfo(context: SoftContext, request: HwInfoRequest): HwInfo {
  const { flags, devId } = request;
  if ((flags & ~IOMMU_HW_INFO_FLAG_INPUT_TYPE) !== 0) {
    throw fail('EOPNOTSUPP', call, `flags ${flags}`);
  }
  const hasType = (flags & IOMMU_HW_INFO_FLAG_INPUT_TYPE) !== 0;
  const wanted = hasType ? request.dataType : IOMMU_HW_INFO_TYPE_DEFAULT;
  const device = context.objects.get(devId);
  if (device?.kind !== 'device') throw fail('ENOENT', call, `device ${devId}`);
  const { hwInfo, pasidBits, hasDirtyTracking, capabilities } = device.unit.traits;
  if (hwInfo !== undefined && wanted !== IOMMU_HW_INFO_TYPE_DEFAULT && wanted !== hwInfo.dataType) {
    throw fail('EOPNOTSUPP', call, `type ${wanted}`);
  }
  const data = hwInfo?.data ?? new Uint8Array();
  return {
    dataType: hwInfo?.dataType ?? IOMMU_HW_INFO_TYPE_NONE,
    dataLen: data.length,
    data: data.slice(0, request.dataLenMax),
    maxPasidLog2: pasidBits,
    capabilities: capabilities | (hasDirtyTracking ? BigInt(IOMMU_HW_CAP_DIRTY_TRACKING) : 0n),
  };
}
