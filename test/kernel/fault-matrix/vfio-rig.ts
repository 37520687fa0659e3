// QEMU's EDU device behind its Intel IOMMU, bound to vfio-pci and opened by its character device.
import { pause } from '../../../src/function/testing/counter-fixture.js';
import type { LoggedFault } from '../../../src/function/vfio/fault-lines.js';
import { KernelIommufd } from '../../../src/iommu/kernel/kernel-iommufd.js';
import type { Os } from '../../../src/os/index.js';
import {
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
} from '../../../src/uapi/vfio.js';
import { bindEdu, eduAddress } from '../edu-device.js';
import type { Refusal, Rig } from './dma-column.js';
import { Edu } from './edu.js';
import { KernelLog } from './kernel-log.js';
import { MatrixMemory } from './matrix-memory.js';
import { VfioRegion } from './vfio-region.js';

const O_RDWR = 2;

const commandRegister = 4;
const memorySpace = 2;
const busMaster = 4;

/** The interrupt that brings a refusal to the log may be late in an emulated machine. */
const refusalDeadlineMs = 15_000;
/**
 * The kernel says ten things in five seconds about refused DMA, and a refusal is up to three of
 * them; it drops the rest.
 */
const refusalPauseMs = 1800;

/** Only in the test machine. */
export async function openVfioRig(os: Os): Promise<Rig & Disposable> {
  const fd = os.ioctl.open(bindEdu(), O_RDWR);
  const iommufd = KernelIommufd.open(os.ioctl);
  const device = iommufd.bindDevice(fd);
  const config = new VfioRegion(os.ioctl, fd, VFIO_PCI_CONFIG_REGION_INDEX);
  config.write(commandRegister, 2, config.read(commandRegister, 2) | memorySpace | busMaster);
  const registers = new VfioRegion(os.ioctl, fd, VFIO_PCI_BAR0_REGION_INDEX);
  const edu = new Edu(
    {
      read32: async (offsetBytes) => registers.read(offsetBytes, 4),
      write32: async (offsetBytes, value) => registers.write(offsetBytes, 4, value),
    },
    os.clock,
  );
  await edu.identify();
  const memory = new MatrixMemory(os.memory);
  const log = new KernelLog();
  return {
    iommufd,
    device,
    memory,
    edu,
    refusals: async (isDue) => {
      const refusals = log.take();
      const endMs = os.clock.nowMs() + refusalDeadlineMs;
      while (isDue && refusals.length === 0 && os.clock.nowMs() < endMs) {
        await pause(os.clock, 20);
        refusals.push(...log.take());
      }
      if (refusals.length > 0) await pause(os.clock, refusalPauseMs);
      return refusals.map(inWords);
    },
    [Symbol.dispose]() {
      log[Symbol.dispose]();
      device.close();
      iommufd[Symbol.dispose]();
      memory[Symbol.dispose]();
    },
  };
}

function inWords({ requester, words, ...refusal }: LoggedFault): Refusal {
  return { ...refusal, reason: requester === eduAddress ? words : `${words} of ${requester}` };
}
