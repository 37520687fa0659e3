// Paths from the root of the repository, for code that was compiled to dist/test/tools.
import { fileURLToPath } from 'node:url';

/** Absolute path of a file or folder named from the root. */
export function rootPath(path: string): string {
  return fileURLToPath(new URL(`../../../${path}`, import.meta.url));
}
