// Calls about a context: options, the IOAS of its container, and whose mappings these are.
import {
  IOMMU_VFIO_IOAS_GET,
  iommuIoasChangeProcess,
  iommuOption,
  iommuVfioIoas,
} from '../../../uapi/iommufd-ioas.js';
import {
  IOMMU_IOAS_CHANGE_PROCESS,
  IOMMU_OPTION,
  IOMMU_VFIO_IOAS,
} from '../../../uapi/iommufd-requests.js';
import { checkReserved, command } from './command.js';

export const option = command(IOMMU_OPTION, iommuOption, ({ iommufd }, fields, reply) => {
  checkReserved('IOMMU_OPTION', fields.__reserved);
  const value = iommufd.option({
    optionId: fields.option_id,
    op: fields.op,
    objectId: fields.object_id,
    value: fields.val64,
  });
  // Nothing else of the structure is written.
  reply({ ...fields, val64: value }, iommuOption.offsets.val64);
});

export const vfioIoas = command(IOMMU_VFIO_IOAS, iommuVfioIoas, ({ iommufd }, fields, reply) => {
  checkReserved('IOMMU_VFIO_IOAS', fields.__reserved);
  const id = iommufd.vfioIoas({ op: fields.op, ioasId: fields.ioas_id });
  if (fields.op === IOMMU_VFIO_IOAS_GET) reply({ ...fields, ioas_id: id });
});

export const changeProcess = command(
  IOMMU_IOAS_CHANGE_PROCESS,
  iommuIoasChangeProcess,
  ({ iommufd }, fields) => {
    checkReserved('IOMMU_IOAS_CHANGE_PROCESS', fields.__reserved);
    iommufd.changeProcess();
  },
);
