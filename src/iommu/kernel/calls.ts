// One ioctl: a structure there and back, with the bytes that it points to.
import { isOsError, OsError } from '../../base/errors.js';
import type { Fd } from '../../os/fd.js';
import type { IoctlOs } from '../../os/ioctl-types.js';
import type { Struct } from '../../uapi/struct.js';

/** What came back, also of a call that failed. */
export interface Answer<T> {
  readonly value: T;
  readonly errno: OsError['errno'] | undefined;
}

export class KernelCalls {
  readonly os: IoctlOs;
  readonly fd: Fd;
  /** What the next call's pointers lead to: held here until it has returned. */
  readonly #lent: Uint8Array[] = [];

  /** @param fd - Of /dev/iommu. Not owned. */
  constructor(os: IoctlOs, fd: Fd) {
    this.os = os;
    this.fd = fd;
  }

  /** The address of bytes for the next call; 0 for none. */
  lend(bytes: Uint8Array | undefined): bigint {
    if (bytes === undefined || bytes.length === 0) return 0n;
    this.#lent.push(bytes);
    return this.os.addressOf(bytes);
  }

  /**
   * @param name - For errors.
   * @returns The structure as it was written back. @throws OsError
   */
  call<T>(name: string, request: number, codec: Struct<T>, value: T, fd = this.fd): T {
    const bytes = codec.encode(value);
    this.send(name, request, bytes, fd);
    return codec.decode(bytes);
  }

  /** As `call`, for calls that report something together with an error. */
  tryCall<T>(name: string, request: number, codec: Struct<T>, value: T): Answer<T> {
    const bytes = codec.encode(value);
    try {
      this.send(name, request, bytes);
    } catch (error) {
      if (!isOsError(error)) throw error;
      return { value: codec.decode(bytes), errno: error.errno };
    }
    return { value: codec.decode(bytes), errno: undefined };
  }

  /** @returns The result. @throws OsError that names the call */
  send(name: string, request: number, argument: Uint8Array | number, fd = this.fd): number {
    try {
      return this.os.ioctl(fd, request, argument);
    } catch (error) {
      throw isOsError(error) ? new OsError(error.errno, name) : error;
    } finally {
      this.#lent.length = 0;
    }
  }
}
