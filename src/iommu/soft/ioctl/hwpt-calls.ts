// Calls about page tables of devices, and what their IOMMU is.
import { iommuHwInfo } from '../../../uapi/iommufd-hw-info.js';
import { iommuHwptAlloc, iommuHwptInvalidate } from '../../../uapi/iommufd-hwpt.js';
import {
  IOMMU_GET_HW_INFO,
  IOMMU_HWPT_ALLOC,
  IOMMU_HWPT_INVALIDATE,
} from '../../../uapi/iommufd-requests.js';
import type { HwptInvalidateResult } from '../../requests.js';
import { fail } from '../objects.js';
import type { Caller } from './caller.js';
import { checkReserved, command, replyOrUndo } from './command.js';
import { addressAfter } from './user-space.js';

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

export const hwInfo = command(
  IOMMU_GET_HW_INFO,
  iommuHwInfo,
  ({ iommufd, space }, fields, reply) => {
    const { flags, dev_id: devId, data_len: dataLenMax, data_uptr: address } = fields;
    checkReserved('IOMMU_GET_HW_INFO', ...fields.__reserved);
    const info = iommufd.hwInfo({ flags, devId, dataType: fields.data_type, dataLenMax });
    space.write(address, info.data);
    const copiedBytes = info.data.length;
    space.clear(addressAfter(address, copiedBytes), dataLenMax - copiedBytes);
    reply({
      ...fields,
      data_len: info.dataLen,
      data_type: info.dataType,
      out_max_pasid_log2: info.maxPasidLog2,
      out_capabilities: info.capabilities,
    });
  },
);

/** How many entries were done is written back whatever happens. */
export const hwptInvalidate = command(
  IOMMU_HWPT_INVALIDATE,
  iommuHwptInvalidate,
  (caller, fields, reply) => {
    let done: HwptInvalidateResult = { handledCount: 0, errno: undefined };
    try {
      done = invalidate(caller, fields);
    } finally {
      // Its EFAULT takes the place of any other errno.
      reply({ ...fields, entry_num: done.handledCount });
    }
    if (done.errno !== undefined) {
      throw fail(done.errno, 'IOMMU_HWPT_INVALIDATE', `entry ${done.handledCount}`);
    }
  },
);

type InvalidateFields = ReturnType<typeof iommuHwptInvalidate.decode>;

function invalidate({ iommufd, space }: Caller, fields: InvalidateFields): HwptInvalidateResult {
  checkReserved('IOMMU_HWPT_INVALIDATE', fields.__reserved);
  const { data_uptr: address, entry_len: entryLen, entry_num: entryNum } = fields;
  return iommufd.hwptInvalidate({
    hwptId: fields.hwpt_id,
    dataType: fields.data_type,
    entryLen,
    entryNum,
    data: address === 0n ? undefined : space.bytes(address, entryLen * entryNum),
  });
}
