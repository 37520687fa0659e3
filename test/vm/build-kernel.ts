// The steps that make a kernel of Debian's source. What is left in the end: the image, its
// configuration, the headers for user space, and a busybox to start the guest with.
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { downloadPackages } from '../tree/apt.js';
import { run } from '../tree/run.js';
import { ensureBuildTools } from './build-tools.js';
import { type KernelRecipe, kernelPackages, kernelSeries, unmetSettings } from './kernel-recipe.js';
import type { KernelSteps } from './kernel-steps.js';

/** Builds on a loaded machine with one CPU have taken half an hour. */
export const buildMsMax = 3_600_000;
const progressEveryMs = 10_000;

const imagePath = 'arch/x86/boot/bzImage';

export interface BuildOptions {
  readonly say: (text: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Where a package of Debian has its busybox: it depends on the release. */
export function busyboxIn(unpacked: string): string {
  const paths = ['usr/bin/busybox', 'bin/busybox'].map((path) => join(unpacked, path));
  const found = paths.find((path) => existsSync(path));
  if (found === undefined) throw new Error(`there is no busybox in ${unpacked}`);
  return found;
}

/** A tree that kernels are made of, with the one busybox for all of them. */
export interface KernelSource {
  /** All of it, to be removed. */
  readonly work: string;
  readonly path: string;
  readonly busybox: string;
  /** Of the package it came in. */
  readonly version: string;
}

/** Takes Debian's packages apart. */
async function fetchSource(work: string, { say, signal }: BuildOptions): Promise<KernelSource> {
  const packages = await downloadPackages(kernelPackages, work, say);
  for (const path of packages) {
    await run('dpkg-deb', ['--extract', path, join(work, 'unpacked')], { signal });
  }
  // Before the long work: what is not there shall not be noticed after it.
  const busybox = busyboxIn(join(work, 'unpacked'));
  const source = packages.find((path) => basename(path).startsWith('linux-source'));
  if (source === undefined) throw new Error(`apt fetched ${packages.join(', ')}, and no source`);
  const version = (await run('dpkg-deb', ['--field', source, 'Version'])).trim();
  say(`unpacking the source of Linux ${version}`);
  const archive = join(work, 'unpacked/usr/src', `linux-source-${kernelSeries}.tar.xz`);
  await run('tar', ['--extract', '--file', archive, '--directory', work], { signal });
  return { work, path: join(work, `linux-source-${kernelSeries}`), busybox, version };
}

async function patchSource(
  { work, path: source }: KernelSource,
  { patches }: KernelRecipe,
  { say, signal }: BuildOptions,
): Promise<void> {
  for (const { name, text } of patches) {
    say(`applying ${name}`);
    const path = join(work, name);
    writeFileSync(path, text);
    const words = ['-p1', '--forward', '--fuzz=0', '--input', path];
    await run('patch', words, { cwd: source, signal });
  }
}

async function configure(
  { work, path: source }: KernelSource,
  { config }: KernelRecipe,
  { signal }: BuildOptions,
): Promise<void> {
  await run('make', ['tinyconfig'], { cwd: source, signal });
  const path = join(work, 'fragment.config');
  writeFileSync(path, config);
  const words = ['-m', '.config', path];
  await run('scripts/kconfig/merge_config.sh', words, { cwd: source, signal });
  await run('make', ['olddefconfig'], { cwd: source, signal });
  const unmet = unmetSettings(config, readFileSync(join(source, '.config'), 'utf8'));
  if (unmet.length > 0) throw new Error(`the kernel does not take ${unmet.join(', ')}`);
}

/** What is not compiled yet or was patched since. */
async function compile(
  { path: source }: KernelSource,
  { say, signal }: BuildOptions,
): Promise<void> {
  const jobs = availableParallelism();
  const isFirst = !existsSync(join(source, imagePath));
  const duration = isFirst ? 'ten minutes' : 'a minute';
  say(`compiling with ${jobs} jobs: about ${duration} on two CPUs that have nothing else to do`);
  const startMs = performance.now();
  let saidMs = startMs;
  let files = 0;
  const onLine = (line: string): void => {
    if (/^\s+(CC|AS|HOSTCC)\b/.test(line)) files += 1;
    const nowMs = performance.now();
    if (nowMs - saidMs < progressEveryMs) return;
    saidMs = nowMs;
    say(`${files} files compiled in ${((nowMs - startMs) / 1000).toFixed(0)} s`);
  };
  // The same words in `uname -v`, whether the tree was compiled before or not.
  const words = [`-j${jobs}`, 'KBUILD_BUILD_VERSION=1', 'bzImage', 'headers'];
  await run('make', words, { cwd: source, signal, onLine, timeoutMs: buildMsMax });
}

/** Leaves the results in `folder`. */
function keep(folder: string, { path: source, busybox, version }: KernelSource): void {
  cpSync(busybox, join(folder, 'busybox'));
  cpSync(join(source, imagePath), join(folder, 'bzImage'));
  cpSync(join(source, '.config'), join(folder, 'config'));
  const include = join(folder, 'include');
  cpSync(join(source, 'usr/include'), include, {
    recursive: true,
    // Beside the headers lie what built them and hidden files about how.
    filter: (path) => path.endsWith('.h') || !/\.[^/]*$|Makefile$/.test(basename(path)),
  });
  cpSync(join(source, 'drivers/iommu/iommufd/iommufd_test.h'), join(include, 'iommufd_test.h'));
  writeFileSync(join(folder, 'stamp.json'), `${JSON.stringify({ version })}\n`);
}

/**
 * The steps on the real source. They throw VmUnavailable when the machine lacks a tool, and Error
 * with what failed.
 */
export function kernelSteps(options: BuildOptions): KernelSteps<KernelSource> {
  return {
    prepare: async (folder, recipe) => {
      await ensureBuildTools(options.say, options.signal);
      const work = join(folder, 'work');
      mkdirSync(work);
      const source = await fetchSource(work, options);
      await configure(source, recipe, options);
      return source;
    },
    patch: (source, recipe) => patchSource(source, recipe, options),
    make: async (source, folder) => {
      await compile(source, options);
      keep(folder, source);
    },
    discard: ({ work }) => rmSync(work, { recursive: true }),
  };
}
