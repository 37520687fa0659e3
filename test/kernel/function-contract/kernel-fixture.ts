// A function of the kernel over a CounterDevice that the guest was given.
import { readdirSync, writeFileSync } from 'node:fs';
import { silentLogger } from '../../../src/base/log.js';
import type { CounterFixture } from '../../../src/function/testing/counter-fixture.js';
import { DirectHelpers } from '../../../src/function/testing/direct-helpers.js';
import { createVfioFunction } from '../../../src/function/vfio/index.js';
import { createOs } from '../../../src/os/index.js';

/** Gives the function to vfio-pci. */
function bind(to: string): void {
  const folder = `/sys/bus/pci/devices/${to}`;
  if (readdirSync(folder).includes('vfio-dev')) return;
  writeFileSync(`${folder}/driver_override`, 'vfio-pci');
  writeFileSync('/sys/bus/pci/drivers_probe', to);
}

export async function createKernelFixture(
  at: string,
  way: 'iommufd' | 'container',
): Promise<CounterFixture> {
  bind(at);
  const os = createOs();
  const helpers = new DirectHelpers(os.memory);
  const log = silentLogger;
  const fn = await createVfioFunction({ os, helpers, address: at, name: 'counter', way, log });
  return { fn, ...os, [Symbol.asyncDispose]: () => fn[Symbol.asyncDispose]() };
}
