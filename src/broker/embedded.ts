// The embedded functions: a device in a worker thread of this process, behind the software IOMMU.
import type { Logger } from '../base/log.js';
import { createEmulatedFunction } from '../function/emulated/index.js';
import type { PciFunction } from '../function/types.js';
import type { HelperPool } from '../os/helper-types.js';
import type { Os } from '../os/os-types.js';

export interface EmbeddedOptions {
  readonly os: Os;
  readonly helpers: HelperPool;
  readonly name: string;
  readonly log: Logger;
}

export interface EmbeddedMqdmaOptions extends EmbeddedOptions {
  readonly queueCount: number;
  readonly faultInjection: boolean;
}

/** A multi-queue DMA engine that any Linux machine has. */
export function createEmbeddedMqdma(options: EmbeddedMqdmaOptions): Promise<PciFunction> {
  const { os, helpers, name, log, queueCount, faultInjection } = options;
  return createEmulatedFunction({
    os,
    helpers,
    name,
    log,
    device: {
      module: new URL('../device/mqdma/create.js', import.meta.url).href,
      exportName: 'createMqdma',
      options: { queueCount, faultInjection, pageBytes: os.memory.pageBytes },
    },
  });
}

/** QEMU's EDU device, without QEMU: to try what drives a real one. */
export function createEmbeddedEdu(options: EmbeddedOptions): Promise<PciFunction> {
  return createEmulatedFunction({
    ...options,
    device: {
      module: new URL('../device/edu/device.js', import.meta.url).href,
      exportName: 'createEdu',
      options: {},
    },
  });
}
