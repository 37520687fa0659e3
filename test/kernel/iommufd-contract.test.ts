// The contract of every iommufd over the kernel's, with a PCI device behind vfio-pci: in the guest
// of the test VM, `npx vitest run dist/test/kernel/iommufd-contract.test.js`.
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, it } from 'vitest';
import { KernelIommufd } from '../../src/iommu/kernel/kernel-iommufd.js';
import { type ContractWorld, iommufdContract } from '../../src/iommu/testing/iommufd-contract.js';
import { type Fd, loadNative } from '../../src/os/index.js';
import { createOs } from '../../src/os/os.js';

const O_RDWR = 2;
/** QEMU's teaching device, which the VM has there. */
const edu = '0000:00:05.0';
const eduFolder = `/sys/bus/pci/devices/${edu}`;

function bindToVfio(): void {
  if (existsSync(`${eduFolder}/vfio-dev`)) return;
  writeFileSync(`${eduFolder}/driver_override`, 'vfio-pci');
  writeFileSync('/sys/bus/pci/drivers_probe', edu);
}

function createWorld(): ContractWorld {
  const os = createOs(loadNative());
  const iommufd = KernelIommufd.open(os.ioctl);
  const owned: (Fd | Disposable)[] = [];
  return {
    iommufd,
    createMemory(lengthBytes) {
      const fd = os.memory.create('lessor-contract', lengthBytes);
      owned.push(fd);
      return fd;
    },
    bindDevice() {
      const [node] = readdirSync(`${eduFolder}/vfio-dev`);
      const device = iommufd.bindDevice(os.ioctl.open(`/dev/vfio/devices/${node}`, O_RDWR));
      owned.push(device);
      return device;
    },
    end() {
      for (const one of owned) one[Symbol.dispose]();
      iommufd[Symbol.dispose]();
    },
  };
}

if (existsSync('/dev/iommu') && existsSync(eduFolder)) {
  beforeAll(bindToVfio);
  iommufdContract("the kernel's iommufd", createWorld);
} else {
  describe('NOT CHECKED: no /dev/iommu and no EDU device here', () => {
    it.skip("the kernel's iommufd; run it in the test VM", () => undefined);
  });
}
