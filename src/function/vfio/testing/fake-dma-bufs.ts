// A VFIO device whose kernel exports dma-bufs, and does with them what it is told that it can. It
// keeps the rules of the proposal for mainline: what is revoked is dead for good, everywhere.

import type { Errno } from '../../../base/errno.js';
import { LessorError, OsError } from '../../../base/errors.js';
import { FakeIoctl } from '../../../iommu/testing/fake-ioctl.js';
import type { Fd } from '../../../os/fd.js';
import type { Mapping, MapSpec } from '../../../os/memory-types.js';
import { FakeFile } from '../../../os/testing/fake-files.js';
import {
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  vfioDeviceFeature,
  vfioDeviceFeatureDmaBuf,
  vfioRegionDmaRange,
} from '../../../uapi/vfio-features.js';
import { VFIO_DEVICE_FEATURE } from '../../../uapi/vfio-requests.js';
import type { VfioDevice, VfioRegion } from '../types.js';

export interface FakeKernel {
  readonly exports?: boolean;
  readonly maps?: boolean;
  /** Numbers of features, where it has them. */
  readonly revoke?: number;
  readonly memory?: number;
  /** Features that answer everything alike: 0, or an errno. */
  readonly others?: Readonly<Record<number, Errno | undefined>>;
  /** A dma-buf cannot be opened again. */
  readonly refusesPath?: boolean;
}

export const fakePageBytes = 4096;
export const fakeRegions: readonly VfioRegion[] = [
  region(0, 0x4000, [{ offsetBytes: 0, lengthBytes: 0x4000 }]),
  region(2, 0x8000, [
    { offsetBytes: 0, lengthBytes: 0x3000 },
    { offsetBytes: 0x4000, lengthBytes: 0x4000 },
  ]),
  region(4, 0x800, []),
];

function region(index: number, lengthBytes: number, mappable: VfioRegion['mappable']): VfioRegion {
  const fileOffsetBytes = index * 2 ** 40;
  return { index, fileOffsetBytes, lengthBytes, isReadable: true, isWritable: true, mappable };
}

/** One export. */
export class FakeDmaBuf extends FakeFile {
  readonly region: number;
  readonly openFlags: number;
  readonly ranges: readonly { readonly offset: bigint; readonly length: bigint }[];
  isRevoked = false;
  attribute = 0;

  constructor(regionIndex: number, openFlags: number, ranges: FakeDmaBuf['ranges']) {
    super('other', 0);
    this.region = regionIndex;
    this.openFlags = openFlags;
    this.ranges = ranges;
  }
}

export class FakeDmaBufs extends FakeIoctl {
  readonly #kernel: FakeKernel;
  /** All that were exported. */
  readonly buffers: FakeDmaBuf[] = [];
  /** Sets that were made, by number, those that failed too. */
  readonly sets: { readonly feature: number; readonly descriptor: number }[] = [];
  readonly device: VfioDevice;
  /** The owner closed the device: nothing can be called, and all is revoked. */
  isClosed = false;
  /** Set: the next calls wait for it. */
  gate: Promise<void> | undefined;
  /** Set: a revoke answers so. */
  revokeErrno: Errno | undefined;

  constructor(kernel: FakeKernel = {}) {
    super();
    this.#kernel = kernel;
    this.on(VFIO_DEVICE_FEATURE, (bytes) => this.#feature(bytes));
    this.device = {
      address: '0000:00:05.0',
      os: this,
      fd: this.files.create('other', 1),
      canReset: true,
      regions: new Map(fakeRegions.map((one) => [one.index, one])),
      irqs: new Map(),
      call: async (_name, request, argument) => {
        await this.gate;
        if (this.isClosed) throw new LessorError('FUNCTION_GONE', 'the device was closed');
        return this.ioctl(this.device.fd, request, argument.slice());
      },
    };
  }

  /** Stands for `MemoryOs`. */
  get memory() {
    return { pageBytes: fakePageBytes, map: (fd: Fd, spec: MapSpec) => this.#map(fd, spec) };
  }

  bufferOf(descriptor: number): FakeDmaBuf {
    const file = this.files.file(descriptor);
    if (file === undefined) throw new OsError('EBADF', 'ioctl');
    if (file instanceof FakeDmaBuf) return file;
    throw new OsError('EINVAL', 'ioctl');
  }

  override open(path: string, flags: number): Fd {
    const file = this.files.file(Number(path.split('/').at(-1)));
    if (this.#kernel.refusesPath && file instanceof FakeDmaBuf) throw new OsError('EPERM', 'open');
    return super.open(path, flags);
  }

  #map(fd: Fd, spec: MapSpec): Mapping {
    const buffer = this.bufferOf(fd.number);
    if (!this.#kernel.maps) throw new OsError('EINVAL', 'mmap');
    if (spec.writable && (buffer.openFlags & 3) === 0) throw new OsError('EACCES', 'mmap');
    if (buffer.isRevoked) throw new OsError('ENODEV', 'mmap');
    const { lengthBytes } = spec;
    return {
      buffer: new ArrayBuffer(lengthBytes),
      lengthBytes,
      revoked: false,
      poison() {},
      [Symbol.dispose]() {},
    };
  }

  #feature(bytes: Uint8Array): number {
    const { argsz, flags } = vfioDeviceFeature.decodeAt(bytes, 0);
    const feature = flags & VFIO_DEVICE_FEATURE_MASK;
    const { exports, revoke, memory, others } = this.#kernel;
    const isOther = others !== undefined && feature in others;
    const isKnown = feature === revoke || feature === memory || isOther;
    const isExport = feature === VFIO_DEVICE_FEATURE_DMA_BUF && exports !== false;
    if (!isKnown && !isExport) throw new OsError('ENOTTY', 'ioctl');
    const wanted = isExport ? VFIO_DEVICE_FEATURE_GET : VFIO_DEVICE_FEATURE_SET;
    if ((flags & wanted) === 0) throw new OsError('EINVAL', 'ioctl');
    if ((flags & VFIO_DEVICE_FEATURE_PROBE) !== 0) return 0;
    if (isExport) return this.#export(bytes);
    return this.#set(feature, new DataView(bytes.buffer, 8, argsz - 8));
  }

  #export(bytes: Uint8Array): number {
    const head = vfioDeviceFeatureDmaBuf.decodeAt(bytes, 8);
    const ranges = Array.from({ length: head.nr_ranges }, (_, index) =>
      vfioRegionDmaRange.decodeAt(bytes, 24 + 16 * index),
    );
    const page = BigInt(fakePageBytes);
    const lengthBytes = BigInt(this.device.regions.get(head.region_index)?.lengthBytes ?? 0);
    const isBad = ranges.some(
      ({ offset, length }) =>
        length === 0n ||
        offset % page !== 0n ||
        length % page !== 0n ||
        offset + length > lengthBytes,
    );
    if (ranges.length === 0 || isBad) throw new OsError('EINVAL', 'ioctl');
    const buffer = new FakeDmaBuf(head.region_index, head.open_flags, ranges);
    this.buffers.push(buffer);
    return this.files.install(buffer);
  }

  #set(feature: number, payload: DataView): number {
    const { revoke, others } = this.#kernel;
    const descriptor = payload.getInt32(0, true);
    this.sets.push({ feature, descriptor });
    if (others !== undefined && feature in others) {
      const errno = others[feature];
      if (errno !== undefined) throw new OsError(errno, 'ioctl');
      return 0;
    }
    if (feature === revoke) {
      if (this.revokeErrno !== undefined) throw new OsError(this.revokeErrno, 'ioctl');
      const buffer = this.bufferOf(descriptor);
      if (buffer.isRevoked) throw new OsError('EBADFD', 'ioctl');
      buffer.isRevoked = true;
      return 0;
    }
    if (payload.byteLength < 8) throw new OsError('EINVAL', 'ioctl');
    const buffer = this.bufferOf(descriptor);
    const attribute = payload.getUint32(4, true);
    if (attribute > 1) throw new OsError('ENOENT', 'ioctl');
    buffer.attribute = attribute;
    return 0;
  }
}
