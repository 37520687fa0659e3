// Which kernels of the cache are made, and in what order: a kernel that has our patches is the
// stock one with a few files compiled again, so whoever compiles the stock kernel gets both.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cachedFolder } from '../tree/cache.js';
import { type KernelFlavour, type KernelRecipe, kernelKey } from './kernel-recipe.js';

/** What making a kernel consists of; `Source` is a tree that was fetched. */
export interface KernelSteps<Source> {
  /** Fetches and configures a source without patches, below an empty folder. */
  prepare(folder: string, recipe: KernelRecipe): Promise<Source>;
  patch(source: Source, recipe: KernelRecipe): Promise<void>;
  /** Compiles what has changed since the last time, and leaves the results in `folder`. */
  make(source: Source, folder: string): Promise<void>;
  /** Removes the tree. */
  discard(source: Source): void;
}

export interface KernelOrder {
  readonly root: string;
  readonly recipes: Readonly<Record<KernelFlavour, KernelRecipe>>;
  readonly say: (text: string) => void;
  /** How long another run may take that makes the same. */
  readonly waitMs: number;
}

/**
 * Folder of the wanted kernel in the cache, made when it is not there. When the stock kernel is not
 * there either, both are made from one tree, whichever is wanted; a patched one beside a stock one
 * that is there already takes a tree of its own.
 *
 * @throws What the steps throw; what befalls a kernel that was not asked for is only told.
 */
export async function obtainKernel<Source>(
  wanted: KernelFlavour,
  { root, recipes, say, waitMs }: KernelOrder,
  steps: KernelSteps<Source>,
): Promise<string> {
  const { stock, patched } = recipes;
  const obtain = (recipe: KernelRecipe, build: (folder: string) => Promise<void>) =>
    cachedFolder(root, kernelKey(recipe), build, say, waitMs);

  const makeStock = async (folder: string): Promise<void> => {
    const source = await steps.prepare(folder, stock);
    await steps.make(source, folder);
    try {
      await obtain(patched, async (beside) => {
        await steps.patch(source, patched);
        await steps.make(source, beside);
      });
    } catch (error) {
      // The stock kernel is whole. Who wants the patched one tries again, and hears of it.
      say(`there is no patched kernel: ${error instanceof Error ? error.message : String(error)}`);
    }
    steps.discard(source);
  };

  const makePatched = async (folder: string): Promise<void> => {
    const source = await steps.prepare(folder, patched);
    await steps.patch(source, patched);
    await steps.make(source, folder);
    steps.discard(source);
  };

  // The lock of the stock kernel comes before that of the patched one, never after it.
  const isThere = (recipe: KernelRecipe): boolean => existsSync(join(root, kernelKey(recipe)));
  if (wanted === 'stock') return obtain(stock, makeStock);
  if (!isThere(patched) && !isThere(stock)) await obtain(stock, makeStock);
  return obtain(patched, makePatched);
}
