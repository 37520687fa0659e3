// Fetches packages of another Debian release with the machine's own apt, into folders of our own:
// no root, nothing installed, nothing of the machine's apt changed. Signatures are checked by apt.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const commandTimeoutMs = 240_000;
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Runs a program to its end. @throws Error with what it wrote last, when it fails. */
export function run(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
      timeout: commandTimeoutMs,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (bytes) => {
      stdout += String(bytes);
    });
    child.stderr.on('data', (bytes) => {
      stderr += String(bytes);
    });
    child.once('error', reject);
    child.once('close', (status, signal) => {
      if (status === 0) return resolve(stdout);
      const last = `${stdout}\n${stderr}`.trim().split('\n').slice(-3).join(' | ');
      reject(new Error(`${command} ended with ${signal ?? status}: ${last}`));
    });
  });
}

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
