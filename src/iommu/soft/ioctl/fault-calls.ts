// IOMMU_FAULT_QUEUE_ALLOC: an object, and a file that reads and answers page requests.
import { iommuFaultAlloc } from '../../../uapi/iommufd-fault.js';
import { IOMMU_FAULT_QUEUE_ALLOC } from '../../../uapi/iommufd-requests.js';
import type { FaultQueue } from '../../iommufd.js';
import { command, replyOrUndo } from './command.js';

export const faultQueueAlloc = command(
  IOMMU_FAULT_QUEUE_ALLOC,
  iommuFaultAlloc,
  ({ iommufd, files }, fields, reply) => {
    const { faultId, queue } = iommufd.faultQueueAlloc(fields.flags);
    let open: FaultQueue | undefined = queue;
    const undo = () => {
      open?.close();
      iommufd.destroy(faultId);
    };
    replyOrUndo(() => {
      const fd = files.add({ kind: 'fault queue', queue });
      replyOrUndo(
        () => reply({ ...fields, out_fault_id: faultId, out_fault_fd: fd }),
        () => {
          files.close(fd);
          open = undefined;
        },
      );
    }, undo);
  },
);
