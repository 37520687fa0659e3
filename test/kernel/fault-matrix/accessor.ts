// Software that uses an address space as a device does: of the kernel's mock, and of ours.
import type { SoftIommufd } from '../../../src/iommu/soft/soft-iommufd.js';
import type { Fd } from '../../../src/os/fd.js';
import * as mock from '../mock-uapi.js';
import type { Access } from './cells.js';
import type { MockCalls } from './mock-call.js';

export interface Accessor extends Disposable {
  /** Attaches, or replaces. @throws OsError */
  attach(ioasId: number): void;
  /** Absent: it cannot. */
  detach?(): void;
  /** @throws OsError `ENOENT`, `EPERM` */
  copy(access: Access, iova: bigint, bytes: Uint8Array): void;
}

export function softAccessor(iommufd: SoftIommufd): Accessor {
  const access = iommufd.createAccess({ needsPins: false, onUnmap: () => undefined });
  let isAttached = false;
  return {
    attach(ioasId) {
      if (isAttached) access.replace(ioasId);
      else access.attach(ioasId);
      isAttached = true;
    },
    detach() {
      access.detach();
      isAttached = false;
    },
    copy: (direction, iova, bytes) => access.copy(iova, bytes, direction),
    [Symbol.dispose]: () => access.close(),
  };
}

export function mockAccessor(calls: MockCalls): Accessor {
  let file: Fd | undefined;
  return {
    attach(ioas_id) {
      if (file === undefined) {
        const op = mock.IOMMU_TEST_OP_CREATE_ACCESS;
        const fields = { out_access_fd: 0, flags: 0 };
        const made = calls.call(mock.testCmd.create_access, op, ioas_id, fields);
        file = calls.os.adopt(made.out_access_fd);
      } else {
        const op = mock.IOMMU_TEST_OP_ACCESS_REPLACE_IOAS;
        calls.call(mock.testCmd.access_replace_ioas, op, file.number, { ioas_id });
      }
    },
    copy(access, iova, bytes) {
      const flags = access === 'write' ? mock.MOCK_ACCESS_RW_WRITE : 0;
      const uptr = calls.os.addressOf(bytes);
      const fields = { iova, length: BigInt(bytes.length), uptr, flags };
      calls.call(mock.testCmd.access_rw, mock.IOMMU_TEST_OP_ACCESS_RW, file!.number, fields);
    },
    [Symbol.dispose]: () => file?.close(),
  };
}
