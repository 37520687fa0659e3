// Calls about what devices wrote.
import { iommuHwptGetDirtyBitmap, iommuHwptSetDirtyTracking } from '../../../uapi/iommufd-hwpt.js';
import {
  IOMMU_HWPT_GET_DIRTY_BITMAP,
  IOMMU_HWPT_SET_DIRTY_TRACKING,
} from '../../../uapi/iommufd-requests.js';
import { checkReserved, command } from './command.js';
import { userBitmap } from './user-bitmap.js';

/** Its reserved field is not looked at. */
export const setDirtyTracking = command(
  IOMMU_HWPT_SET_DIRTY_TRACKING,
  iommuHwptSetDirtyTracking,
  ({ iommufd }, { flags, hwpt_id: hwptId }) => iommufd.setDirtyTracking({ flags, hwptId }),
);

export const getDirtyBitmap = command(
  IOMMU_HWPT_GET_DIRTY_BITMAP,
  iommuHwptGetDirtyBitmap,
  ({ iommufd, space }, fields) => {
    checkReserved('IOMMU_HWPT_GET_DIRTY_BITMAP', fields.__reserved);
    iommufd.getDirtyBitmap({
      flags: fields.flags,
      hwptId: fields.hwpt_id,
      iova: fields.iova,
      length: fields.length,
      pageSize: fields.page_size,
      bitmap: userBitmap(space, fields.data),
    });
  },
);
