// Calls that map and unmap. What was mapped or removed stays so when the answer cannot be written.
import { Fd } from '../../../os/fd.js';
import {
  iommuIoasCopy,
  iommuIoasMap,
  iommuIoasMapFile,
  iommuIoasUnmap,
} from '../../../uapi/iommufd-ioas.js';
import {
  IOMMU_IOAS_COPY,
  IOMMU_IOAS_MAP,
  IOMMU_IOAS_MAP_FILE,
  IOMMU_IOAS_UNMAP,
} from '../../../uapi/iommufd-requests.js';
import { checkReserved, command } from './command.js';

export const map = command(IOMMU_IOAS_MAP, iommuIoasMap, ({ iommufd, account }, fields, reply) => {
  checkReserved('IOMMU_IOAS_MAP', fields.__reserved);
  const { flags, ioas_id: ioasId, user_va: userVa, length, iova } = fields;
  const mapped = iommufd.ioasMap({ flags, ioasId, userVa, length, iova, account });
  reply({ ...fields, iova: mapped });
});

export const mapFile = command(
  IOMMU_IOAS_MAP_FILE,
  iommuIoasMapFile,
  ({ iommufd, files, account }, fields, reply) => {
    const { flags, ioas_id: ioasId, start, length, iova } = fields;
    const file = files.get(fields.fd);
    const request = { flags, ioasId, start, length, iova, account };
    const mapped =
      file === undefined || file.kind === 'memory'
        ? iommufd.ioasMapFile({ ...request, fd: file?.fd ?? closedFile() })
        : iommufd.ioasMapNoMemory(request);
    reply({ ...fields, iova: mapped });
  },
);

export const copy = command(
  IOMMU_IOAS_COPY,
  iommuIoasCopy,
  ({ iommufd, account }, fields, reply) => {
    const copied = iommufd.ioasCopy({
      flags: fields.flags,
      dstIoasId: fields.dst_ioas_id,
      srcIoasId: fields.src_ioas_id,
      length: fields.length,
      dstIova: fields.dst_iova,
      srcIova: fields.src_iova,
      account,
    });
    reply({ ...fields, dst_iova: copied });
  },
);

export const unmap = command(IOMMU_IOAS_UNMAP, iommuIoasUnmap, ({ iommufd }, fields, reply) => {
  const { ioas_id: ioasId, iova, length } = fields;
  const removed = iommufd.ioasUnmap({ ioasId, iova, length });
  reply({ ...fields, length: removed });
});

/** For what is not open: its `EBADF` comes in its turn. */
function closedFile(): Fd {
  const closed = new Fd({ close: () => 0, duplicate: () => -9 }, 0);
  closed.close();
  return closed;
}
