// What the machine must have to compile a kernel: found, or installed where that may be done.
import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../tree/run.js';
import { VmUnavailable } from './unavailable.js';

interface Tool {
  /** Of Debian. */
  readonly package: string;
  /** A program, or a header by its absolute path. */
  readonly shownBy: string;
}

export const buildTools: readonly Tool[] = [
  { package: 'make', shownBy: 'make' },
  { package: 'gcc', shownBy: 'gcc' },
  { package: 'binutils', shownBy: 'ld' },
  { package: 'libc6-dev', shownBy: '/usr/include/stdio.h' },
  { package: 'flex', shownBy: 'flex' },
  { package: 'bison', shownBy: 'bison' },
  { package: 'bc', shownBy: 'bc' },
  { package: 'patch', shownBy: 'patch' },
  { package: 'xz-utils', shownBy: 'xz' },
  { package: 'libelf-dev', shownBy: '/usr/include/gelf.h' },
  { package: 'libssl-dev', shownBy: '/usr/include/openssl/ssl.h' },
];

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function isThere(shownBy: string, searchPath: string): boolean {
  if (shownBy.startsWith('/')) return existsSync(shownBy);
  return searchPath.split(':').some((folder) => isExecutable(join(folder, shownBy)));
}

/** Debian's packages that hold what is not there. */
export function missingPackages(searchPath = process.env.PATH ?? ''): readonly string[] {
  return buildTools
    .filter(({ shownBy }) => !isThere(shownBy, searchPath))
    .map((tool) => tool.package);
}

/**
 * Sees to it that a kernel can be compiled. Root gets what is missing installed by apt.
 *
 * @throws VmUnavailable that names the packages which are missing.
 */
export async function ensureBuildTools(
  say: (text: string) => void,
  signal?: AbortSignal,
): Promise<void> {
  const missing = missingPackages();
  if (missing.length === 0) return;
  const sentence = `The test kernel cannot be built here without ${missing.join(', ')}`;
  if (process.getuid?.() !== 0) {
    throw new VmUnavailable(`${sentence}: have them installed (apt-get install).`);
  }
  say(`installing ${missing.join(', ')}`);
  try {
    await run('apt-get', ['update'], { signal });
    const words = ['install', '--yes', '--no-install-recommends', ...missing];
    await run('apt-get', words, { signal, timeoutMs: 600_000 });
  } catch (error) {
    throw new VmUnavailable(`${sentence}, which apt-get could not install.`, { cause: error });
  }
}
