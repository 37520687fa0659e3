// Fetches packages of another Debian release with the machine's own apt, into folders of our own:
// no root, nothing installed, nothing of the machine's apt changed. Signatures are checked by apt.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { run } from './run.js';

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Repositories that `apt-get update --print-uris` would ask, security suites last. */
export function repositoriesIn(printedUris: string): readonly string[] {
  const found = [...printedUris.matchAll(/^'([^']+?)\/dists\/([^']+)\/InRelease'/gm)];
  const isSecurity = (suite: string | undefined): boolean => suite?.includes('security') ?? false;
  const sorted = [
    ...found.filter(([, , suite]) => !isSecurity(suite)),
    ...found.filter(([, , suite]) => isSecurity(suite)),
  ];
  return [...new Set(sorted.flatMap(([, base]) => (base === undefined ? [] : [base])))];
}

/** A deb822 source. */
export function sourceOf(repository: string, suites: readonly string[]): string {
  const lines = [
    'Types: deb',
    `URIs: ${repository}`,
    `Suites: ${suites.join(' ')}`,
    'Components: main',
    ...(existsSync(keyring) ? [`Signed-By: ${keyring}`] : []),
  ];
  return `${lines.join('\n')}\n`;
}

export interface Wanted {
  /** The release, and its backports, which `packages` come from. */
  readonly suites: readonly [string, string];
  readonly packages: readonly string[];
}

/** An apt that has its own lists, its own empty status and its own cache. */
function aptOptions(folder: string): readonly string[] {
  for (const name of ['lists/partial', 'archives/partial', 'none']) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  writeFileSync(join(folder, 'status'), '');
  const options = {
    'Dir::Etc::sourcelist': join(folder, 'wanted.sources'),
    'Dir::Etc::sourceparts': join(folder, 'none'),
    'Dir::Etc::preferences': join(folder, 'none', 'preferences'),
    'Dir::Etc::preferencesparts': join(folder, 'none'),
    'Dir::State': folder,
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::State::status': join(folder, 'status'),
    'Dir::Cache': folder,
    'Dir::Cache::archives': join(folder, 'archives'),
    'APT::Sandbox::User': '',
    'APT::Get::AllowUnauthenticated': 'false',
  };
  return Object.entries(options).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
}

/** Asks the machine's repositories in turn for the wanted suites. */
async function updateFromAny(
  folder: string,
  options: readonly string[],
  suites: readonly string[],
): Promise<void> {
  const repositories = repositoriesIn(await run('apt-get', ['update', '--print-uris']));
  let problem: unknown = new Error('apt of this machine knows no repository');
  for (const repository of repositories) {
    writeFileSync(join(folder, 'wanted.sources'), sourceOf(repository, suites));
    try {
      await run('apt-get', [...options, '-o', 'APT::Update::Error-Mode=any', 'update']);
      return;
    } catch (error) {
      problem = error;
    }
  }
  throw problem;
}

/**
 * Fetches packages, each from the suite it names, without what they depend on.
 *
 * @param packages - Like `busybox-static/trixie`.
 * @returns Paths of the .deb files, in `folder`, which the caller removes.
 * @throws Error that says which command failed and how.
 */
export async function downloadPackages(
  packages: readonly string[],
  folder: string,
  say: (text: string) => void,
): Promise<readonly string[]> {
  const lists = join(folder, '.apt');
  const options = aptOptions(lists);
  const suites = [...new Set(packages.flatMap((name) => name.split('/').slice(1)))];
  say(`asking for ${suites.join(' and ')}`);
  await updateFromAny(lists, options, suites);
  say(`fetching ${packages.join(', ')}`);
  const archives = join(lists, 'archives');
  await run('apt-get', [...options, 'download', ...packages], { cwd: archives });
  const names = readdirSync(archives).filter((name) => name.endsWith('.deb'));
  const moved = names.map((name) => join(folder, name));
  for (const path of moved) renameSync(join(archives, basename(path)), path);
  rmSync(lists, { recursive: true, force: true });
  return moved;
}

/**
 * Unpacks packages and all they depend on into `target`.
 *
 * @throws Error that says which command failed and how.
 */
export async function unpackPackages(
  wanted: Wanted,
  target: string,
  say: (text: string) => void,
): Promise<void> {
  const folder = join(target, '.apt');
  const options = aptOptions(folder);
  say(`asking for ${wanted.suites.join(' and ')}`);
  await updateFromAny(folder, options, wanted.suites);
  say(`fetching ${wanted.packages.join(', ')} and what they depend on`);
  const install = ['install', '--yes', '--no-install-recommends', '--download-only'];
  await run('apt-get', [...options, '-t', wanted.suites[1], ...install, ...wanted.packages]);
  const archives = readdirSync(join(folder, 'archives')).filter((name) => name.endsWith('.deb'));
  say(`unpacking ${archives.length} packages`);
  for (const name of archives) {
    await run('dpkg-deb', ['--extract', join(folder, 'archives', name), target]);
  }
  rmSync(folder, { recursive: true, force: true });
}
