// Where the user headers of the test kernel are.
import { cachedKernelTree } from '../vm/kernel-tree.js';

/** A folder for #include; undefined when the test kernel was never built here. */
export function kernelIncludeFolder(): string | undefined {
  return cachedKernelTree()?.includeFolder;
}
