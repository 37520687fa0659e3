// Calls about page tables of devices.
import { iommuHwptAlloc } from '../../../uapi/iommufd-hwpt.js';
import { IOMMU_HWPT_ALLOC } from '../../../uapi/iommufd-requests.js';
import { checkReserved, command, replyOrUndo } from './command.js';

export const hwptAlloc = command(
  IOMMU_HWPT_ALLOC,
  iommuHwptAlloc,
  ({ iommufd, space }, fields, reply) => {
    // The kernel does not look at the second reserved field.
    checkReserved('IOMMU_HWPT_ALLOC', fields.__reserved);
    const id = iommufd.hwptAlloc({
      flags: fields.flags,
      devId: fields.dev_id,
      ptId: fields.pt_id,
      dataType: fields.data_type,
      data: space.bytes(fields.data_uptr, fields.data_len),
      faultId: fields.fault_id,
    });
    replyOrUndo(
      () => reply({ ...fields, out_hwpt_id: id }),
      () => iommufd.destroy(id),
    );
  },
);
