// A function that is not of this process, as the command line names it: one that another process
// serves over vfio-user, or a PCI function of this machine.
import { LessorError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { PciFunction } from '../function/types.js';
import type { DmaBufFeatures } from '../function/vfio/dma-buf-features.js';
import { createVfioFunction } from '../function/vfio/index.js';
import { pciAddressOf } from '../function/vfio/pci-address.js';
import { createVfioUserFunction } from '../function/vfio-user/index.js';
import type { HelperPool } from '../os/helper-types.js';
import type { Os } from '../os/os-types.js';

export type FunctionSource =
  | { readonly type: 'vfio-user'; readonly path: string }
  /** `address` as in sysfs. */
  | { readonly type: 'pci'; readonly address: string };

const scheme = 'vfio-user:';

/**
 * Reads the name of a function: `vfio-user:PATH`, or a PCI address like `0000:00:05.0`.
 *
 * @throws LessorError `INVALID_ARGUMENT`
 */
export function parseFunctionSource(source: string): FunctionSource {
  if (source.startsWith(scheme) && source.length > scheme.length) {
    return { type: 'vfio-user', path: source.slice(scheme.length) };
  }
  const address = pciAddressOf(source);
  if (address !== undefined) return { type: 'pci', address };
  const detail = `function "${source}" is neither ${scheme}PATH nor a PCI address`;
  throw new LessorError('INVALID_ARGUMENT', detail, {
    hint: `write ${scheme}PATH, or an address as "lspci -D" does: 0000:00:05.0`,
  });
}

export interface FunctionSourceOptions {
  readonly os: Os;
  readonly helpers: HelperPool;
  readonly name: string;
  readonly source: string;
  /** For windows of a PCI function. Default: `look`. */
  readonly dmaBufFeatures?: DmaBufFeatures;
  readonly log: Logger;
}

/**
 * Opens the function that a source names. The caller disposes it.
 *
 * @throws As `parseFunctionSource`, `createVfioUserFunction` and `createVfioFunction`.
 */
export async function openFunctionSource(options: FunctionSourceOptions): Promise<PciFunction> {
  const { os, helpers, name, log } = options;
  const source = parseFunctionSource(options.source);
  if (source.type === 'pci') {
    const { dmaBufFeatures: features = 'look' } = options;
    return createVfioFunction({ os, helpers, name, address: source.address, log, features });
  }
  return createVfioUserFunction({ os, helpers, name, path: source.path, log });
}
