// A device, EDU or another, opened to lend parts of its first BAR: the calls on dma-bufs, and what
// ends them.
import { AssertionFailure, OsError } from '../../../src/base/errors.js';
import { KernelIommufd } from '../../../src/iommu/kernel/kernel-iommufd.js';
import type { Fd } from '../../../src/os/fd.js';
import type { Os } from '../../../src/os/index.js';
import { s32, struct, u32 } from '../../../src/uapi/struct.js';
import {
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  vfioDeviceInfo,
} from '../../../src/uapi/vfio.js';
import {
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  vfioDeviceFeature,
  vfioDeviceFeatureDmaBuf,
  vfioRegionDmaRange,
} from '../../../src/uapi/vfio-features.js';
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_RESET,
} from '../../../src/uapi/vfio-requests.js';
import { bindFunction, eduAddress } from '../edu-device.js';
import { VfioRegion } from '../fault-matrix/vfio-region.js';

export const O_RDONLY = 0;
export const O_RDWR = 2;
export const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;

export const pageBytes = 4096;

const commandRegister = 4;
const memorySpace = 2;
const busMaster = 4;

/** Payloads of the features that test/vm/patches add, in their kernel's linux/vfio.h. */
const revokePayload = struct('vfio_device_feature_dma_buf_revoke', 4, { dmabuf_fd: s32 });
const memattrPayload = struct('vfio_device_feature_dma_buf_memattr', 8, {
  dmabuf_fd: s32,
  memattr: u32,
});

export const memattr = { NC: 0, WC: 1, unknown: 0xffff_ffff } as const;

/** In pages of the BAR. */
export interface PageRange {
  readonly first: number;
  readonly count: number;
}

export interface Features {
  readonly revoke: number | undefined;
  readonly memattr: number | undefined;
}

/** The first number that no released kernel gives to another feature, and where to stop. */
const firstFree = 14;
const triedLast = 24;

/** "ok", or the errno that a call ended with. */
export function outcomeOf(call: () => unknown): string {
  try {
    call();
    return 'ok';
  } catch (error) {
    if (error instanceof OsError) return error.errno;
    throw error;
  }
}

export class Exporter implements Disposable {
  readonly iommufd: KernelIommufd;
  readonly #os: Os;
  readonly #fd: Fd;
  readonly #device: ReturnType<KernelIommufd['bindDevice']>;
  readonly #config: VfioRegion;

  /** Opens the device, attached to nothing, decoding memory. */
  constructor(os: Os, address: string = eduAddress) {
    this.#os = os;
    this.#fd = os.ioctl.open(bindFunction(address), O_RDWR);
    this.iommufd = KernelIommufd.open(os.ioctl);
    this.#device = this.iommufd.bindDevice(this.#fd);
    this.#config = new VfioRegion(os.ioctl, this.#fd, VFIO_PCI_CONFIG_REGION_INDEX);
    this.setMemory(true);
  }

  get fd(): Fd {
    return this.#fd;
  }

  registers(): VfioRegion {
    return new VfioRegion(this.#os.ioctl, this.#fd, VFIO_PCI_BAR0_REGION_INDEX);
  }

  /** A new address space that the device is in from now on. */
  enterSpace(): number {
    const ioasId = this.iommufd.ioasAlloc();
    this.#device.attach(ioasId);
    return ioasId;
  }

  /** COMMAND.MEM; the device is a bus master in either case. */
  setMemory(isOn: boolean): void {
    const kept = this.#config.read(commandRegister, 2) & ~memorySpace;
    this.#config.write(commandRegister, 2, kept | busMaster | (isOn ? memorySpace : 0));
  }

  get canReset(): boolean {
    const bytes = new Uint8Array(vfioDeviceInfo.sizeBytes);
    new DataView(bytes.buffer).setUint32(0, bytes.length, true);
    this.#os.ioctl.ioctl(this.#fd, VFIO_DEVICE_GET_INFO, bytes);
    return (vfioDeviceInfo.decode(bytes).flags & VFIO_DEVICE_FLAGS_RESET) !== 0;
  }

  reset(): void {
    this.#os.ioctl.ioctl(this.#fd, VFIO_DEVICE_RESET, 0);
  }

  /** @returns The result of the call. @throws OsError */
  feature(flags: number, payload: Uint8Array): number {
    const bytes = new Uint8Array(vfioDeviceFeature.sizeBytes + payload.length);
    vfioDeviceFeature.encodeAt({ argsz: bytes.length, flags }, bytes, 0);
    bytes.set(payload, vfioDeviceFeature.sizeBytes);
    return this.#os.ioctl.ioctl(this.#fd, VFIO_DEVICE_FEATURE, bytes);
  }

  /** A dma-buf of these ranges of BAR0, in this order. Owned by the caller. @throws OsError */
  export(ranges: readonly PageRange[], access: number = O_RDWR): Fd {
    const head = vfioDeviceFeatureDmaBuf.encode({
      region_index: VFIO_PCI_BAR0_REGION_INDEX,
      open_flags: access | O_CLOEXEC,
      flags: 0,
      nr_ranges: ranges.length,
    });
    const parts = ranges.map(({ first, count }) =>
      vfioRegionDmaRange.encode({
        offset: BigInt(first * pageBytes),
        length: BigInt(count * pageBytes),
      }),
    );
    const payload = Buffer.concat([head, ...parts]);
    const flags = VFIO_DEVICE_FEATURE_DMA_BUF | VFIO_DEVICE_FEATURE_GET;
    return this.#os.ioctl.adopt(this.feature(flags, payload));
  }

  /**
   * Which numbers the features of the patches have. Both are tried with a payload that neither
   * takes: no descriptor, and an attribute that does not exist.
   */
  findFeatures(): Features {
    const nothing = memattrPayload.encode({ dmabuf_fd: -1, memattr: memattr.unknown });
    const set = VFIO_DEVICE_FEATURE_SET;
    const found: { revoke?: number; memattr?: number } = {};
    for (let number = firstFree; number <= triedLast; number += 1) {
      const probe = number | set | VFIO_DEVICE_FEATURE_PROBE;
      if (outcomeOf(() => this.feature(probe, new Uint8Array())) !== 'ok') continue;
      const answer = outcomeOf(() => this.feature(number | set, nothing));
      if (answer === 'EBADF') found.revoke ??= number;
      if (answer === 'ENOENT') found.memattr ??= number;
    }
    return { revoke: found.revoke, memattr: found.memattr };
  }

  /** @returns "ok" or an errno. */
  revoke(fd: number): string {
    const number = this.findFeatures().revoke;
    if (number === undefined) throw new AssertionFailure('a kernel that cannot revoke');
    const payload = revokePayload.encode({ dmabuf_fd: fd });
    return outcomeOf(() => this.feature(number | VFIO_DEVICE_FEATURE_SET, payload));
  }

  /** @returns "ok" or an errno. */
  setMemattr(fd: number, value: number): string {
    const number = this.findFeatures().memattr;
    if (number === undefined) throw new AssertionFailure('a kernel without memory attributes');
    const payload = memattrPayload.encode({ dmabuf_fd: fd, memattr: value });
    return outcomeOf(() => this.feature(number | VFIO_DEVICE_FEATURE_SET, payload));
  }

  /** Closes the device. Twice does nothing. */
  [Symbol.dispose](): void {
    this.#device.close();
    this.iommufd[Symbol.dispose]();
  }
}
