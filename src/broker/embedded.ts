// The embedded function: mqdma in a worker thread of this process, behind the software IOMMU.
import type { Logger } from '../base/log.js';
import { createEmulatedFunction } from '../function/emulated/index.js';
import type { PciFunction } from '../function/types.js';
import type { HelperPool } from '../os/helper-types.js';
import type { Os } from '../os/os-types.js';

export interface EmbeddedMqdmaOptions {
  readonly os: Os;
  readonly helpers: HelperPool;
  readonly name: string;
  readonly queueCount: number;
  readonly faultInjection: boolean;
  readonly log: Logger;
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
