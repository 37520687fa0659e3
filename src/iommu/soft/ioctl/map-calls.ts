// Calls that map and unmap. What was mapped or removed stays so when the answer cannot be written.
import { Fd } from '../../../os/fd.js';
import { iommuIoasMapFile, iommuIoasUnmap } from '../../../uapi/iommufd-ioas.js';
import { IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_UNMAP } from '../../../uapi/iommufd-requests.js';
import { command } from './command.js';
import type { SoftFiles } from './soft-files.js';

export const mapFile = command(
  IOMMU_IOAS_MAP_FILE,
  iommuIoasMapFile,
  ({ iommufd, files, account }, fields, reply) => {
    const { flags, start, length } = fields;
    const fd = memoryOf(files, fields.fd);
    const ioasId = fields.ioas_id;
    const iova = iommufd.ioasMapFile({
      flags,
      ioasId,
      fd,
      start,
      length,
      iova: fields.iova,
      account,
    });
    reply({ ...fields, iova });
  },
);

export const unmap = command(IOMMU_IOAS_UNMAP, iommuIoasUnmap, ({ iommufd }, fields, reply) => {
  const { iova, length } = fields;
  const removed = iommufd.ioasUnmap({ ioasId: fields.ioas_id, iova, length });
  reply({ ...fields, length: removed });
});

/** A closed descriptor for what is not open, so that `EBADF` comes in its turn. */
function memoryOf(files: SoftFiles, number: number): Fd {
  const file = files.get(number);
  if (file?.kind === 'memory') return file.fd;
  const closed = new Fd({ close: () => 0, duplicate: () => -9 }, 0);
  closed.close();
  return closed;
}
