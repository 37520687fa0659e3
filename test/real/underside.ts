// What cases run on: a device, the way to it, and what is known of both.
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import type { Isolation, Revocation } from '../../src/base/labels.js';
import type { Bench } from '../support/lessor.js';
import type { KernelFlavour } from '../vm/kernel-recipe.js';
import { eduAddress, portAddress } from '../vm/machine.js';
import { hostDeviceLog } from './logs.js';
import { bindToVfio } from './sysfs.js';

export interface Underside {
  readonly name: string;
  readonly device: 'edu' | 'mqdma';
  /** Its address, when the guest has it as a PCI function. */
  readonly address: string | undefined;
  readonly isolation: Isolation;
  readonly revocation: Readonly<Record<KernelFlavour, Revocation>>;
  /** Who sees a DMA to what is not mapped: the guest's IOMMU, or the server of the device. */
  readonly unmappedSeenBy: 'iommu' | 'server';
  /** Slices that can be leased at a time. */
  readonly tenants: number;
  prepare(bench: Bench): Promise<Prepared>;
}

export interface Prepared {
  /** What `lessor serve --function` is told. */
  readonly source: string;
  /** All that the server of the device has said. */
  readonly said: () => string;
}

const byKernel = { stock: 'mediated', patched: 'kernel' } as const;

async function bound(address: string): Promise<Prepared> {
  bindToVfio(address);
  return { source: address, said: hostDeviceLog };
}

/** As on a kernel without iommufd: only the container is left. */
function hideIommufd(): void {
  renameSync('/dev/iommu', '/dev/iommu.hidden');
}

export const undersides: readonly Underside[] = [
  {
    name: 'edu by iommufd',
    device: 'edu',
    address: eduAddress,
    isolation: 'exclusive',
    revocation: byKernel,
    unmappedSeenBy: 'iommu',
    tenants: 1,
    prepare: () => bound(eduAddress),
  },
  {
    name: 'edu by container',
    device: 'edu',
    address: eduAddress,
    isolation: 'exclusive',
    revocation: byKernel,
    unmappedSeenBy: 'iommu',
    tenants: 1,
    async prepare() {
      hideIommufd();
      return bound(eduAddress);
    },
  },
  {
    name: 'mqdma by iommufd',
    device: 'mqdma',
    address: portAddress,
    isolation: 'device-bounds',
    revocation: byKernel,
    unmappedSeenBy: 'server',
    tenants: 16,
    prepare: () => bound(portAddress),
  },
  {
    name: 'mqdma by container',
    device: 'mqdma',
    address: portAddress,
    isolation: 'device-bounds',
    revocation: byKernel,
    unmappedSeenBy: 'server',
    tenants: 16,
    async prepare() {
      hideIommufd();
      return bound(portAddress);
    },
  },
  {
    name: 'mqdma by vfio-user',
    device: 'mqdma',
    address: undefined,
    isolation: 'server',
    revocation: { stock: 'kernel', patched: 'kernel' },
    unmappedSeenBy: 'server',
    tenants: 16,
    async prepare(bench) {
      const path = join(bench.directory, 'wire');
      const words = ['device', 'serve', 'mqdma', '--fault-injection', '--detachable-windows'];
      const server = bench.start([...words, '--listen', path, '--json', '--log', 'info']);
      await server.saying(/\n/);
      return { source: `vfio-user:${path}`, said: () => server.stderr };
    },
  },
];
