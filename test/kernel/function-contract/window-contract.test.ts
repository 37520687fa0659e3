// What every Window does, over a function of the kernel: mediated on a stock kernel, of dma-bufs on
// a patched one. In the guest that `npm run test:vm contracts` boots.
import { describe, it } from 'vitest';
import type { CounterFixture } from '../../../src/function/testing/counter-fixture.js';
import { windowContract } from '../../../src/function/testing/window-contract.js';
import { addressVariable, kernelVariable } from './guest-variables.js';
import { createKernelFixture } from './kernel-fixture.js';

const address = process.env[addressVariable];
const isPatched = process.env[kernelVariable] === 'patched';

/** Of a store in a frame nobody hears while the device sleeps: an access by message wakes it. */
async function createFixture(at: string): Promise<CounterFixture> {
  const fixture = await createKernelFixture(at, 'iommufd');
  return { ...fixture, wake: () => void fixture.fn.registers(0).read32(0) };
}

if (address === undefined) {
  describe('window of a function of the kernel', () => {
    it.skip('needs a guest with a device: npm run test:vm contracts', () => undefined);
  });
} else {
  const traits = {
    mapsWindows: isPatched,
    mapsRegisters: isPatched,
    pasids: false,
    seesFaults: false,
  };
  windowContract('a function of the kernel', traits, () => createFixture(address));
}
