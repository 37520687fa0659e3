// The two things a guest is booted from, and whether this machine has them or can have them.
import { cachedQemuTree, type QemuTree, qemuTree } from '../tree/qemu-tree.js';
import type { BuildOptions } from './build-kernel.js';
import { insideVariable } from './inside.js';
import type { KernelFlavour } from './kernel-recipe.js';
import { cachedKernelTree, type KernelTree, kernelTree } from './kernel-tree.js';
import { VmUnavailable } from './unavailable.js';

export interface Vm {
  readonly qemu: QemuTree;
  readonly kernel: KernelTree;
}

/** QEMU and kernel when both are in the cache. Fetches and builds nothing. */
export function cachedVm(flavour: KernelFlavour = 'stock'): Vm | undefined {
  const qemu = cachedQemuTree();
  const kernel = cachedKernelTree(flavour);
  return qemu && kernel ? { qemu, kernel } : undefined;
}

/**
 * Why a test that needs a guest cannot run now, in a sentence; undefined when it can. Such a test
 * does not fetch and build for minutes on its own: it is skipped by name, with this reason.
 */
export function vmUnavailable(flavour: KernelFlavour = 'stock'): string | undefined {
  if (process.env[insideVariable]) return 'This is a guest already.';
  return cachedVm(flavour) === undefined
    ? 'There is no virtual machine yet: `npm run vm -- true` makes one, once.'
    : undefined;
}

/**
 * QEMU and kernel, fetched and built when the cache does not have them (minutes, told to `say`).
 *
 * @throws VmUnavailable when they cannot be had here, in one sentence.
 */
export async function prepareVm(
  options: BuildOptions,
  flavour: KernelFlavour = 'stock',
): Promise<Vm> {
  if (process.env[insideVariable]) throw new VmUnavailable('This is a guest already.');
  try {
    const qemu = await qemuTree(options.say);
    return { qemu, kernel: await kernelTree(options, flavour) };
  } catch (error) {
    if (error instanceof VmUnavailable) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new VmUnavailable(`The virtual machine cannot be made here: ${reason}`, { cause: error });
  }
}
