// What a test kernel is made of, and the name that follows from it: another source, configuration
// or patch is another kernel beside the first.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rootPath } from '../tools/root.js';

/** `stock`: Debian's source as it is. `patched`: with our patches. */
export type KernelFlavour = 'stock' | 'patched';
export const kernelFlavours: readonly KernelFlavour[] = ['stock', 'patched'];

/** Kernel series, and so the package that its source comes in. */
export const kernelSeries = '7.3';
export const kernelPackages = [
  `linux-source-${kernelSeries}/trixie-backports`,
  'busybox-static/trixie',
] as const;

/** Changed with the steps of build-kernel.ts: what older steps made is then left alone. */
const steps = '1';

export interface Patch {
  readonly name: string;
  readonly text: string;
}

export interface KernelRecipe {
  readonly config: string;
  /** None for a stock kernel. */
  readonly patches: readonly Patch[];
}

function digest(words: readonly string[]): string {
  const hash = createHash('sha256');
  for (const word of words) hash.update(`${Buffer.byteLength(word)} ${word}`);
  return hash.digest('hex').slice(0, 12);
}

/** The folder of the cache that holds the kernel of this recipe. */
export function kernelKey({ config, patches }: KernelRecipe): string {
  const patched =
    patches.length === 0 ? 'stock' : digest(patches.flatMap(({ name, text }) => [name, text]));
  return `kernel-${kernelSeries}-${digest([steps, ...kernelPackages, config])}-${patched}`;
}

/** Settings that a fragment asks for and a finished configuration does not have. */
export function unmetSettings(fragment: string, finished: string): readonly string[] {
  const has = new Set(finished.split('\n'));
  return fragment
    .split('\n')
    .filter((line) => line.startsWith('CONFIG_') && !has.has(line))
    .map((line) => line.trim());
}

function readPatches(folder: string): readonly Patch[] {
  const names = readdirSync(folder).filter((name) => name.endsWith('.patch'));
  return names.sort().map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }));
}

/** The recipe of a flavour, from the files beside this one. */
export function kernelRecipe(flavour: KernelFlavour): KernelRecipe {
  const config = readFileSync(rootPath('test/vm/kernel.config'), 'utf8');
  const patches = flavour === 'stock' ? [] : readPatches(rootPath('test/vm/patches'));
  return { config, patches };
}
