// The steps that make a kernel, in a folder where in the end only the results are left: the image,
// its configuration, the headers for user space, and a busybox to start the guest with.
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { downloadPackages } from '../tree/apt.js';
import { run } from '../tree/run.js';
import { ensureBuildTools } from './build-tools.js';
import { type KernelRecipe, kernelPackages, kernelSeries, unmetSettings } from './kernel-recipe.js';

/** Builds on a loaded machine with one CPU have taken half an hour. */
export const buildMsMax = 3_600_000;
const progressEveryMs = 10_000;

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

/** Takes Debian's packages apart, and keeps the busybox. @returns The version of the kernel's. */
async function fetchSource(
  folder: string,
  work: string,
  { say, signal }: BuildOptions,
): Promise<string> {
  const packages = await downloadPackages(kernelPackages, work, say);
  for (const path of packages) {
    await run('dpkg-deb', ['--extract', path, join(work, 'unpacked')], { signal });
  }
  // Before the long work: what is not there shall not be noticed after it.
  cpSync(busyboxIn(join(work, 'unpacked')), join(folder, 'busybox'));
  const source = packages.find((path) => basename(path).startsWith('linux-source'));
  if (source === undefined) throw new Error(`apt fetched ${packages.join(', ')}, and no source`);
  const version = (await run('dpkg-deb', ['--field', source, 'Version'])).trim();
  say(`unpacking the source of Linux ${version}`);
  const archive = join(work, 'unpacked/usr/src', `linux-source-${kernelSeries}.tar.xz`);
  await run('tar', ['--extract', '--file', archive, '--directory', work], { signal });
  return version;
}

async function patchSource(
  source: string,
  { patches }: KernelRecipe,
  { say, signal }: BuildOptions,
): Promise<void> {
  for (const { name, text } of patches) {
    say(`applying ${name}`);
    const path = join(source, '..', name);
    writeFileSync(path, text);
    const words = ['-p1', '--forward', '--fuzz=0', '--input', path];
    await run('patch', words, { cwd: source, signal });
  }
}

async function configure(
  source: string,
  { config }: KernelRecipe,
  { signal }: BuildOptions,
): Promise<void> {
  await run('make', ['tinyconfig'], { cwd: source, signal });
  const path = join(source, '..', 'fragment.config');
  writeFileSync(path, config);
  const words = ['-m', '.config', path];
  await run('scripts/kconfig/merge_config.sh', words, { cwd: source, signal });
  await run('make', ['olddefconfig'], { cwd: source, signal });
  const unmet = unmetSettings(config, readFileSync(join(source, '.config'), 'utf8'));
  if (unmet.length > 0) throw new Error(`the kernel does not take ${unmet.join(', ')}`);
}

async function compile(source: string, { say, signal }: BuildOptions): Promise<void> {
  const jobs = availableParallelism();
  say(`compiling it with ${jobs} jobs: about ten minutes on two CPUs that have nothing else to do`);
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
  const words = [`-j${jobs}`, 'bzImage', 'headers'];
  await run('make', words, { cwd: source, signal, onLine, timeoutMs: buildMsMax });
}

/** Leaves the results in `folder`. */
function keep(folder: string, source: string): void {
  cpSync(join(source, 'arch/x86/boot/bzImage'), join(folder, 'bzImage'));
  cpSync(join(source, '.config'), join(folder, 'config'));
  const include = join(folder, 'include');
  cpSync(join(source, 'usr/include'), include, {
    recursive: true,
    // Beside the headers lie what built them and hidden files about how.
    filter: (path) => path.endsWith('.h') || !/\.[^/]*$|Makefile$/.test(basename(path)),
  });
  cpSync(join(source, 'drivers/iommu/iommufd/iommufd_test.h'), join(include, 'iommufd_test.h'));
}

/**
 * Makes a kernel in an empty folder.
 *
 * @returns The version of the package its source came in.
 * @throws VmUnavailable when the machine lacks a tool; Error with what failed.
 */
export async function buildKernel(
  folder: string,
  recipe: KernelRecipe,
  options: BuildOptions,
): Promise<string> {
  await ensureBuildTools(options.say, options.signal);
  const work = join(folder, 'work');
  mkdirSync(work);
  const version = await fetchSource(folder, work, options);
  const source = join(work, `linux-source-${kernelSeries}`);
  await patchSource(source, recipe, options);
  await configure(source, recipe, options);
  await compile(source, options);
  keep(folder, source);
  rmSync(work, { recursive: true });
  if (!readdirSync(folder).includes('bzImage')) throw new Error('the kernel was not kept');
  return version;
}
