// QEMU's EDU device in a type1v2 container, its address spaces in a thread as a function has them.

import { pause } from '../../../src/function/testing/counter-fixture.js';
import type { LoggedFault } from '../../../src/function/vfio/fault-lines.js';
import { openGroup } from '../../../src/function/vfio/group.js';
import { readIommuGroup } from '../../../src/function/vfio/group-members.js';
import { KernelAddressSpaces } from '../../../src/iommu/kernel/kernel-spaces.js';
import type { DmaAccount } from '../../../src/iommu/types.js';
import type { Fd } from '../../../src/os/fd.js';
import type { Os } from '../../../src/os/index.js';
import {
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
} from '../../../src/uapi/vfio.js';
import { bindEdu, eduAddress } from '../edu-device.js';
import { Edu } from '../fault-matrix/edu.js';
import { KernelLog } from '../fault-matrix/kernel-log.js';
import { VfioRegion } from '../fault-matrix/vfio-region.js';

const commandRegister = 4;
const memorySpace = 2;
const busMaster = 4;

/** The interrupt that brings a refusal to the log may be late in an emulated machine. */
const refusalDeadlineMs = 20_000;
/** The kernel says ten things in five seconds about refused DMA, up to three of each. */
const refusalPauseMs = 1800;

/** Memory of a client, with a view of it. */
export interface TestMemory extends Disposable {
  readonly fd: Fd;
  readonly bytes: Uint8Array;
}

export function createMemory(os: Os, lengthBytes: number): TestMemory {
  const fd = os.memory.create('lessor-type1', lengthBytes);
  const mapping = os.memory.map(fd, { offsetBytes: 0, lengthBytes, writable: true });
  const bytes = new Uint8Array(mapping.buffer);
  return {
    fd,
    bytes,
    [Symbol.dispose]() {
      mapping[Symbol.dispose]();
      fd.close();
    },
  };
}

/** A lease that may map as much as it likes. */
export function account(placedBytesMax = Number.MAX_SAFE_INTEGER): DmaAccount {
  return { placedBytesMax, tablePagesMax: placedBytesMax, placedBytes: 0, tablePages: 0 };
}

export class Type1Rig implements AsyncDisposable {
  readonly os: Os;
  readonly spaces: KernelAddressSpaces;
  readonly edu: Edu;
  /** A second descriptor of the device, for its registers. */
  readonly deviceFd: Fd;
  readonly #log: KernelLog;

  private constructor(os: Os, spaces: KernelAddressSpaces, deviceFd: Fd) {
    this.os = os;
    this.spaces = spaces;
    this.deviceFd = deviceFd;
    this.#log = new KernelLog();
    const registers = new VfioRegion(os.ioctl, deviceFd, VFIO_PCI_BAR0_REGION_INDEX);
    const access = {
      read32: async (offsetBytes: number) => registers.read(offsetBytes, 4),
      write32: async (offsetBytes: number, value: number) => registers.write(offsetBytes, 4, value),
    };
    this.edu = new Edu(access, os.clock);
  }

  static async open(os: Os): Promise<Type1Rig> {
    bindEdu();
    const group = readIommuGroup(eduAddress);
    const { deviceFd, ...container } = openGroup({ os: os.ioctl, address: eduAddress, group });
    const registersFd = deviceFd.duplicate();
    try {
      const config = new VfioRegion(os.ioctl, registersFd, VFIO_PCI_CONFIG_REGION_INDEX);
      config.write(commandRegister, 2, config.read(commandRegister, 2) | memorySpace | busMaster);
      const spaces = await KernelAddressSpaces.open({ os: os.ioctl, deviceFd, container });
      const rig = new Type1Rig(os, spaces, registersFd);
      await rig.edu.identify();
      return rig;
    } catch (error) {
      registersFd.close();
      throw error;
    }
  }

  /** Has the device copy bytes from one address to another, by way of its buffer. */
  async copy(from: number, to: number, lengthBytes: number): Promise<void> {
    await this.read(from, lengthBytes);
    await this.write(to, lengthBytes);
  }

  /** Memory to the device. */
  read(iova: number, lengthBytes: number): Promise<void> {
    return this.edu.transfer({ direction: 'from memory', iova, bufferOffset: 0, lengthBytes });
  }

  /** The device to memory. */
  write(iova: number, lengthBytes: number): Promise<void> {
    return this.edu.transfer({ direction: 'to memory', iova, bufferOffset: 0, lengthBytes });
  }

  /** What the IOMMU refused since the last call, as far as the log has it already. */
  async refusals(): Promise<LoggedFault[]> {
    const refusals = this.#log.take();
    if (refusals.length > 0) await pause(this.os.clock, refusalPauseMs);
    this.#log.take();
    return refusals;
  }

  /**
   * What the IOMMU says of DMA that it is to refuse. The DMA is repeated until it says something:
   * words that were one too many for the kernel are lost, and the device gives no sign.
   */
  async refusalsOf(transfer: () => Promise<void>): Promise<LoggedFault[]> {
    const { clock } = this.os;
    const endMs = clock.nowMs() + refusalDeadlineMs;
    let refusals: LoggedFault[] = [];
    while (refusals.length === 0 && clock.nowMs() < endMs) {
      await transfer();
      const againMs = clock.nowMs() + refusalPauseMs;
      while (refusals.length === 0 && clock.nowMs() < againMs) {
        await pause(clock, 20);
        refusals = await this.refusals();
      }
    }
    return refusals;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#log[Symbol.dispose]();
    await this.spaces[Symbol.asyncDispose]();
    this.deviceFd.close();
  }
}
