// A QEMU new enough for vfio-user-pci, out of an unpacked Debian tree, run by the tree's own
// dynamic loader: the machine's libraries do not matter, and neither chroot nor root is needed.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unpackPackages } from './apt.js';
import { cachedFolder, cacheRoot } from './cache.js';
import { run } from './run.js';

/** The first with vfio-user-pci. */
const leastVersion = [10, 1] as const;
/** Changed with the recipe below: an older tree is then left alone and another made. */
const recipe = 'qemu-trixie-backports-1';
const wanted = {
  suites: ['trixie', 'trixie-backports'],
  packages: ['qemu-system-x86'],
} as const;

export interface QemuTree {
  readonly version: string;
  /** The first words of a command line that runs QEMU. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** The only entry of some folders whose name fits. */
function find(folders: readonly string[], pattern: RegExp): string {
  for (const folder of folders) {
    if (!existsSync(folder)) continue;
    const name = readdirSync(folder).find((entry) => pattern.test(entry));
    if (name !== undefined) return join(folder, name);
  }
  throw new Error(`nothing like ${pattern} in ${folders.join(', ')}`);
}

function layout(root: string): Omit<QemuTree, 'version'> {
  const usr = join(root, 'usr');
  const libraries = find([join(usr, 'lib')], /-linux-gnu$/);
  const loader = find([join(usr, 'lib64'), libraries, join(usr, 'lib')], /^ld-linux.*\.so\.\d+$/);
  const data = ['seabios', 'qemu'].flatMap((name) => ['-L', join(usr, 'share', name)]);
  const program = join(usr, 'bin', 'qemu-system-x86_64');
  return {
    command: [loader, '--library-path', libraries, program, ...data],
    env: { QEMU_MODULE_DIR: join(libraries, 'qemu') },
  };
}

/** "11.1.3" of what `--version` prints. @throws Error when it is too old. */
export function versionIn(printed: string): string {
  const version = /QEMU emulator version (\d+)\.(\d+)(\.\d+)?/.exec(printed);
  if (version === null) throw new Error(`no version in ${JSON.stringify(printed)}`);
  const [, major, minor, rest = ''] = version;
  const [leastMajor, leastMinor] = leastVersion;
  const isNewEnough =
    Number(major) > leastMajor || (Number(major) === leastMajor && Number(minor) >= leastMinor);
  const text = `${major}.${minor}${rest}`;
  if (!isNewEnough) throw new Error(`QEMU ${text} is older than ${leastVersion.join('.')}`);
  return text;
}

async function build(folder: string, say: (text: string) => void): Promise<void> {
  const startMs = performance.now();
  await unpackPackages(wanted, folder, say);
  const { command } = layout(folder);
  const [loader = '', ...args] = command;
  const version = versionIn(await run(loader, [...args, '--version']));
  writeFileSync(join(folder, 'stamp.json'), `${JSON.stringify({ recipe, version })}\n`);
  say(`QEMU ${version} made in ${((performance.now() - startMs) / 1000).toFixed(0)} s`);
}

function treeIn(root: string): QemuTree {
  const stamp = JSON.parse(readFileSync(join(root, 'stamp.json'), 'utf8')) as { version: string };
  return { version: stamp.version, ...layout(root) };
}

/** The tree when the cache has it. */
export function cachedQemuTree(): QemuTree | undefined {
  const root = join(cacheRoot(), recipe);
  return existsSync(root) ? treeIn(root) : undefined;
}

/**
 * The tree, fetched when the cache does not have it.
 *
 * @throws Error that says why it cannot be had here.
 */
export async function qemuTree(say: (text: string) => void): Promise<QemuTree> {
  return treeIn(await cachedFolder(cacheRoot(), recipe, (folder) => build(folder, say), say));
}
