// QEMU's EDU device behind its Intel IOMMU, bound to vfio-pci and opened by its character device.
import { existsSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { AssertionFailure } from '../../../src/base/errors.js';
import { pause } from '../../../src/function/testing/counter-fixture.js';
import { KernelIommufd } from '../../../src/iommu/kernel/kernel-iommufd.js';
import type { Os } from '../../../src/os/index.js';
import {
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
} from '../../../src/uapi/vfio.js';
import type { Rig } from './dma-column.js';
import { Edu } from './edu.js';
import { KernelLog, type LoggedRefusal } from './kernel-log.js';
import { MatrixMemory } from './matrix-memory.js';
import { VfioRegion } from './vfio-region.js';

const O_RDWR = 2;
const address = '0000:00:05.0';
const devicePath = `/sys/bus/pci/devices/${address}`;

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

/** @returns Path of the character device. */
function bindToVfioPci(): string {
  const driver = `${devicePath}/driver`;
  if (!existsSync(driver) || basename(readlinkSync(driver)) !== 'vfio-pci') {
    writeFileSync(`${devicePath}/driver_override`, 'vfio-pci');
    writeFileSync('/sys/bus/pci/drivers_probe', address);
  }
  const [name] = readdirSync(`${devicePath}/vfio-dev`);
  if (name === undefined) throw new AssertionFailure(`${address} has no character device`);
  return `/dev/vfio/devices/${name}`;
}

/** Only in the test machine. */
export async function openVfioRig(os: Os): Promise<Rig & Disposable> {
  const fd = os.ioctl.open(bindToVfioPci(), O_RDWR);
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
      return refusals.map(withForeignRequester);
    },
    [Symbol.dispose]() {
      log[Symbol.dispose]();
      device.close();
      iommufd[Symbol.dispose]();
      memory[Symbol.dispose]();
    },
  };
}

function withForeignRequester(refusal: LoggedRefusal): LoggedRefusal {
  const { requester, reason } = refusal;
  return requester === address ? refusal : { ...refusal, reason: `${reason} of ${requester}` };
}
