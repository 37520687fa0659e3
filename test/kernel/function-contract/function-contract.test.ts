// What every PciFunction does, over a function of the kernel: in the guest that main.ts beside this
// file boots, once for each way to open it.
import { readdirSync, writeFileSync } from 'node:fs';
import { describe, it } from 'vitest';
import { silentLogger } from '../../../src/base/log.js';
import type { CounterFixture } from '../../../src/function/testing/counter-fixture.js';
import { DirectHelpers } from '../../../src/function/testing/direct-helpers.js';
import { pciFunctionContract } from '../../../src/function/testing/function-contract.js';
import { createVfioFunction } from '../../../src/function/vfio/index.js';
import { createOs } from '../../../src/os/index.js';
import { addressVariable, kernelVariable } from './guest-variables.js';

const address = process.env[addressVariable];
const isPatched = process.env[kernelVariable] === 'patched';

/** Gives the function to vfio-pci. */
function bind(to: string): void {
  const folder = `/sys/bus/pci/devices/${to}`;
  if (readdirSync(folder).includes('vfio-dev')) return;
  writeFileSync(`${folder}/driver_override`, 'vfio-pci');
  writeFileSync('/sys/bus/pci/drivers_probe', to);
}

async function createFixture(at: string, way: 'iommufd' | 'container'): Promise<CounterFixture> {
  bind(at);
  const os = createOs();
  const helpers = new DirectHelpers(os.memory);
  const log = silentLogger;
  const fn = await createVfioFunction({ os, helpers, address: at, name: 'counter', way, log });
  return { fn, ...os, [Symbol.asyncDispose]: () => fn[Symbol.asyncDispose]() };
}

if (address === undefined) {
  describe('function of the kernel', () => {
    it.skip(`needs a guest with a device: node ${import.meta.dirname}/main.js`, () => undefined);
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
    pciFunctionContract(`of the kernel by ${way}`, traits, () => createFixture(address, way));
  }
}
