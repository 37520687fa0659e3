// The test kernel in the cache: built when it is not there, or only looked for.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheRoot } from '../tree/cache.js';
import { type BuildOptions, buildMsMax, kernelSteps } from './build-kernel.js';
import { type KernelFlavour, kernelKey, kernelRecipe } from './kernel-recipe.js';
import { obtainKernel } from './kernel-steps.js';

export interface KernelTree {
  /** Of Debian's package: "7.3.4-1~bpo13+1". */
  readonly version: string;
  readonly folder: string;
  readonly bzImage: string;
  /** Statically linked, for the guest's first steps. */
  readonly busybox: string;
  /** Headers for user space (linux/iommufd.h, linux/vfio.h), and iommufd_test.h. */
  readonly includeFolder: string;
}

function treeIn(folder: string): KernelTree {
  const stamp = JSON.parse(readFileSync(join(folder, 'stamp.json'), 'utf8')) as {
    readonly version: string;
  };
  return {
    version: stamp.version,
    folder,
    bzImage: join(folder, 'bzImage'),
    busybox: join(folder, 'busybox'),
    includeFolder: join(folder, 'include'),
  };
}

/** The kernel when the cache has it. Never builds. */
export function cachedKernelTree(flavour: KernelFlavour = 'stock'): KernelTree | undefined {
  const folder = join(cacheRoot(), kernelKey(kernelRecipe(flavour)));
  return existsSync(folder) ? treeIn(folder) : undefined;
}

/**
 * The kernel, built when the cache does not have it.
 *
 * @throws VmUnavailable when this machine cannot build it; Error with what failed.
 */
export async function kernelTree(
  options: BuildOptions,
  flavour: KernelFlavour = 'stock',
): Promise<KernelTree> {
  const recipes = { stock: kernelRecipe('stock'), patched: kernelRecipe('patched') };
  const order = { root: cacheRoot(), recipes, say: options.say, waitMs: buildMsMax };
  return treeIn(await obtainKernel(flavour, order, kernelSteps(options)));
}
