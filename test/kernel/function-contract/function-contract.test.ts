// What every PciFunction does, over a function of the kernel: in the guest that `npm run
// test:vm contracts` boots, once for each way to open it.
import { describe, it } from 'vitest';
import { pciFunctionContract } from '../../../src/function/testing/function-contract.js';
import { addressVariable, kernelVariable } from './guest-variables.js';
import { createKernelFixture } from './kernel-fixture.js';

const address = process.env[addressVariable];
const isPatched = process.env[kernelVariable] === 'patched';

if (address === undefined) {
  describe('function of the kernel', () => {
    it.skip('needs a guest with a device: npm run test:vm contracts', () => undefined);
  });
} else {
  const traits = {
    mapsWindows: isPatched,
    mapsRegisters: isPatched,
    pasids: false,
    seesFaults: false,
    pinsMemory: true,
  };
  for (const way of ['iommufd', 'container'] as const) {
    pciFunctionContract(`of the kernel by ${way}`, traits, () => createKernelFixture(address, way));
  }
}
