// Where things are, seen from the compiled benchmarks.
import { fileURLToPath } from 'node:url';

export const repositoryRoot = fileURLToPath(new URL('../../', import.meta.url));
/** C sources of the floors. */
export const floorSources = fileURLToPath(new URL('../../bench/floor/', import.meta.url));

/** A compiled program of `bench/children`. */
export function childProgram(name: string): string {
  return fileURLToPath(new URL(`./children/${name}.js`, import.meta.url));
}
