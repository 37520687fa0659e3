// A region of a VFIO device by its descriptor: each access is one of its exact width.
import { readSync, writeSync } from 'node:fs';
import { AssertionFailure } from '../../../src/base/errors.js';
import type { Fd } from '../../../src/os/fd.js';
import type { IoctlOs } from '../../../src/os/ioctl-types.js';
import { vfioRegionInfo } from '../../../src/uapi/vfio.js';
import { VFIO_DEVICE_GET_REGION_INFO } from '../../../src/uapi/vfio-requests.js';

export class VfioRegion {
  readonly #fd: Fd;
  readonly #start: bigint;

  /** @param fd - Of a bound device. Not owned. */
  constructor(os: IoctlOs, fd: Fd, index: number) {
    const empty = { flags: 0, cap_offset: 0, size: 0n, offset: 0n };
    const bytes = vfioRegionInfo.encode({ argsz: vfioRegionInfo.sizeBytes, index, ...empty });
    os.ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, bytes);
    this.#fd = fd;
    this.#start = vfioRegionInfo.decode(bytes).offset;
  }

  read(offsetBytes: number, width: 2 | 4): number {
    const bytes = Buffer.alloc(width);
    const position = this.#start + BigInt(offsetBytes);
    check(readSync(this.#fd.number, bytes, 0, width, position), width);
    return bytes.readUIntLE(0, width);
  }

  write(offsetBytes: number, width: 2 | 4, value: number): void {
    const bytes = Buffer.alloc(width);
    bytes.writeUIntLE(value, 0, width);
    const position = Number(this.#start) + offsetBytes;
    check(writeSync(this.#fd.number, bytes, 0, width, position), width);
  }
}

function check(moved: number, width: number): void {
  if (moved !== width) throw new AssertionFailure(`an access of ${width} bytes moved ${moved}`);
}
