// The EDU device as a VfioDevice of which only interrupts are wanted.
import { AssertionFailure } from '../../../src/base/errors.js';
import { eduRegister } from '../../../src/device/edu/registers.js';
import { pause } from '../../../src/function/testing/counter-fixture.js';
import type { VfioDevice, VfioIrq } from '../../../src/function/vfio/types.js';
import { KernelIommufd } from '../../../src/iommu/kernel/kernel-iommufd.js';
import type { Fd } from '../../../src/os/fd.js';
import type { Os } from '../../../src/os/index.js';
import {
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_NUM_IRQS,
  vfioIrqInfo,
} from '../../../src/uapi/vfio.js';
import { bindEdu, eduAddress } from '../edu-device.js';
import type { EduRegisters } from '../fault-matrix/edu.js';
import { VfioRegion } from '../fault-matrix/vfio-region.js';

const O_RDWR = 2;
const commandRegister = 4;
const memorySpace = 2;
const busMaster = 4;
/** An emulated machine is slow; what never comes is waited for so long. */
const signalMsMax = 10_000;

export interface EduDevice extends VfioDevice, Disposable {
  /** How often the kernel was called. */
  readonly callCount: number;
  /** The device fires, and for INTx asserts its line until acknowledged. */
  raise(): void;
  acknowledge(): void;
  readonly registers: EduRegisters;
}

function irqsOf(os: Os, fd: Fd): Map<number, VfioIrq> {
  const irqs = new Map<number, VfioIrq>();
  for (let index = 0; index < VFIO_PCI_NUM_IRQS; index += 1) {
    const argsz = vfioIrqInfo.sizeBytes;
    const bytes = vfioIrqInfo.encode({ argsz, flags: 0, index, count: 0 });
    os.ioctl.ioctl(fd, VFIO_DEVICE_GET_IRQ_INFO, bytes);
    const { flags, count } = vfioIrqInfo.decode(bytes);
    irqs.set(index, { index, flags, count });
  }
  return irqs;
}

/** Only in the test machine. */
export async function openEduDevice(os: Os): Promise<EduDevice> {
  const fd = os.ioctl.open(bindEdu(), O_RDWR);
  const iommufd = KernelIommufd.open(os.ioctl);
  const bound = iommufd.bindDevice(fd);
  const config = new VfioRegion(os.ioctl, fd, VFIO_PCI_CONFIG_REGION_INDEX);
  config.write(commandRegister, 2, config.read(commandRegister, 2) | memorySpace | busMaster);
  const registers = new VfioRegion(os.ioctl, fd, VFIO_PCI_BAR0_REGION_INDEX);
  let callCount = 0;
  return {
    address: eduAddress,
    os: os.ioctl,
    fd,
    // Neither by itself nor by its bus.
    canReset: false,
    regions: new Map(),
    irqs: irqsOf(os, fd),
    get callCount() {
      return callCount;
    },
    async call(_name, request, argument) {
      callCount += 1;
      return os.ioctl.ioctl(fd, request, argument);
    },
    raise: () => registers.write(eduRegister.INTERRUPT_RAISE, 4, 1),
    registers: {
      read32: async (offsetBytes) => registers.read(offsetBytes, 4),
      write32: async (offsetBytes, value) => registers.write(offsetBytes, 4, value),
    },
    acknowledge: () => registers.write(eduRegister.INTERRUPT_ACKNOWLEDGE, 4, 1),
    [Symbol.dispose]() {
      registers.write(eduRegister.INTERRUPT_ACKNOWLEDGE, 4, 0xffff_ffff);
      bound.close();
      iommufd[Symbol.dispose]();
      fd.close();
    },
  };
}

/** Waits until an eventfd was signalled. @returns How often. */
export async function signalsOf(os: Os, fd: Fd): Promise<number> {
  const endMs = os.clock.nowMs() + signalMsMax;
  for (;;) {
    const count = Number(os.events.drain(fd));
    if (count > 0) return count;
    if (os.clock.nowMs() > endMs) throw new AssertionFailure('no signal came');
    await pause(os.clock, 1);
  }
}

/** Fails when an eventfd is signalled within a time that is long for an interrupt. */
export async function expectSilence(os: Os, fd: Fd): Promise<void> {
  await pause(os.clock, 200);
  const count = Number(os.events.drain(fd));
  if (count > 0) throw new AssertionFailure(`${count} signals where none was due`);
}

export interface InterruptCase {
  readonly name: string;
  run(device: EduDevice, os: Os): Promise<void>;
}
