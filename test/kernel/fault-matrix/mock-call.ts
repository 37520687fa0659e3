// IOMMU_TEST_CMD on a context of the kernel.
import type { Fd } from '../../../src/os/fd.js';
import type { IoctlOs } from '../../../src/os/ioctl-types.js';
import type { Struct } from '../../../src/uapi/struct.js';
import { IOMMU_TEST_CMD, testCmdBytes } from '../mock-uapi.js';

interface Head {
  readonly size: number;
  readonly op: number;
  readonly id: number;
  readonly __reserved: number;
  readonly last: number;
}

export class MockCalls {
  readonly os: IoctlOs;
  readonly #fd: Fd;

  /** @param fd - Of /dev/iommu. Not owned. */
  constructor(os: IoctlOs, fd: Fd) {
    this.os = os;
    this.#fd = fd;
  }

  /** @returns The structure as it was written back. @throws OsError */
  call<T extends Head>(codec: Struct<T>, op: number, id: number, fields: Omit<T, keyof Head>): T {
    const head = { size: testCmdBytes, op, id, __reserved: 0, last: 0 };
    const bytes = codec.encode({ ...head, ...fields } as unknown as T);
    this.os.ioctl(this.#fd, IOMMU_TEST_CMD, bytes);
    return codec.decode(bytes);
  }
}
