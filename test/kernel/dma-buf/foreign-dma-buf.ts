// A dma-buf that no VFIO device exported: the kernel gives them out for its own tests.
import { readdirSync, readlinkSync } from 'node:fs';
import { AssertionFailure } from '../../../src/base/errors.js';
import type { Fd } from '../../../src/os/fd.js';
import type { Os } from '../../../src/os/index.js';
import { IOMMU_TEST_CMD, IOMMU_TEST_OP_DMABUF_GET, testCmd, testCmdBytes } from '../mock-uapi.js';
import { O_RDWR, pageBytes } from './exporter.js';

/** Descriptors of this process that are dma-bufs. */
function dmaBufs(): ReadonlySet<number> {
  const isDmaBuf = (number: string): boolean => {
    try {
      return readlinkSync(`/proc/self/fd/${number}`).startsWith('/dmabuf:');
    } catch {
      // The one that the folder was read by.
      return false;
    }
  };
  return new Set(readdirSync('/proc/self/fd').filter(isDmaBuf).map(Number));
}

/** Owned by the caller. */
export function foreignDmaBuf({ ioctl }: Os): Fd {
  using iommufd = ioctl.open('/dev/iommu', O_RDWR);
  const command = testCmd.dmabuf_get.encode({
    ...{ size: testCmdBytes, op: IOMMU_TEST_OP_DMABUF_GET, id: 0, __reserved: 0, last: 0 },
    ...{ length: pageBytes, open_flags: O_RDWR },
  });
  const before = dmaBufs();
  ioctl.ioctl(iommufd, IOMMU_TEST_CMD, command);
  // Linux 7.3 installs the descriptor and answers 0.
  const number = [...dmaBufs()].find((candidate) => !before.has(candidate));
  if (number === undefined) throw new AssertionFailure('the kernel gave no dma-buf');
  return ioctl.adopt(number);
}
