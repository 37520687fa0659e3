// The contract of every iommufd over the kernel's, with a PCI device behind vfio-pci: in the guest
// of the test VM, `npx vitest run dist/test/kernel/iommufd-contract.test.js`.
import { existsSync } from 'node:fs';
import { describe, it } from 'vitest';
import { KernelIommufd } from '../../src/iommu/kernel/kernel-iommufd.js';
import { type ContractWorld, iommufdContract } from '../../src/iommu/testing/iommufd-contract.js';
import { type Fd, loadNative } from '../../src/os/index.js';
import { createOs } from '../../src/os/os.js';
import { bindEdu, eduFolder } from './edu-device.js';

const O_RDWR = 2;

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
      const device = iommufd.bindDevice(os.ioctl.open(bindEdu(), O_RDWR));
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
  iommufdContract("the kernel's iommufd", createWorld);
} else {
  describe('NOT CHECKED: no /dev/iommu and no EDU device here', () => {
    it.skip("the kernel's iommufd; run it in the test VM", () => undefined);
  });
}
