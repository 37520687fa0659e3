// Runs what the README and a guide say: `js` blocks as modules against a broker of this test, `sh`
// blocks as commands. Blocks marked `text` are for reading only.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { codeBlocks } from './support/markdown.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  readonly scripts: Readonly<Record<string, string>>;
};
const lessor = join(root, 'bin', 'lessor.js');
const run = promisify(execFile);

const blocks = codeBlocks(readme);
const guide = readFileSync(join(root, 'docs', 'guides', 'window-as-dma-target.md'), 'utf8');
const shortModules = blocks.filter(({ language }) => language === 'js');
const modules = [
  ...shortModules.map((block) => ({ ...block, page: 'README' })),
  ...codeBlocks(guide)
    .filter(({ language }) => language === 'js')
    .map((block) => ({ ...block, page: 'window-as-dma-target' })),
];
const commands = blocks
  .filter(({ language }) => language === 'sh')
  .flatMap(({ text }) => text.split('\n'))
  .filter((line) => line.trim() !== '' && !line.startsWith('#'));
const isNpm = (command: string): boolean => command.startsWith('npm ');

describe('README code', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lessor-readme-'));
  const socket = join(folder, 'control');
  // Below the package, so that it finds itself by its own name.
  const moduleFolder = join(root, 'dist', 'test', `readme-${process.pid}`);
  const commandFolder = join(folder, 'bin');
  const env = {
    ...process.env,
    LESSOR_SOCKET: socket,
    PATH: `${commandFolder}${delimiter}${process.env.PATH}`,
  };
  let broker: ChildProcess | undefined;

  beforeAll(async () => {
    mkdirSync(commandFolder);
    mkdirSync(moduleFolder, { recursive: true });
    symlinkSync(lessor, join(commandFolder, 'lessor'));
    symlinkSync(process.execPath, join(commandFolder, 'node'));
    broker = spawn(process.execPath, [lessor, '--socket', socket, 'serve', '--json'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    // One line, when it takes requests.
    await Promise.race([once(broker.stdout!, 'data'), once(broker, 'exit')]);
    expect(broker.exitCode).toBe(null);
  });

  afterAll(async () => {
    if (broker !== undefined && broker.exitCode === null) {
      const ended = once(broker, 'exit');
      broker.kill('SIGTERM');
      await ended;
    }
    rmSync(folder, { recursive: true, force: true });
    rmSync(moduleFolder, { recursive: true, force: true });
  });

  it('is there', () => {
    expect(new Set(modules.map(({ page }) => page)).size).toBe(2);
    expect(commands.length).toBeGreaterThan(0);
    expect(new Set(blocks.map(({ language }) => language))).toEqual(new Set(['js', 'sh', 'text']));
  });

  it.each(modules)('runs the module at $page:$lineNumber', async ({ text, page, lineNumber }) => {
    const path = join(moduleFolder, `${page}-${lineNumber}.mjs`);
    writeFileSync(path, text);
    const { stdout } = await run(process.execPath, [path], { env, timeout: 15_000 });
    expect(stdout).not.toBe('');
  });

  it.each(shortModules)('keeps the module at line $lineNumber short', ({ text }) => {
    expect(text.trimEnd().split('\n').length).toBeLessThanOrEqual(20);
  });

  it.each(commands.filter((command) => !isNpm(command)))('runs %s', async (command) => {
    await run('sh', ['-c', command], { env, cwd: folder, timeout: 15_000 });
  });

  // The demo, the tests and the benchmarks have tests of their own, or are tests.
  it.each(commands.filter(isNpm))('has a script for %s', (command) => {
    const [, verb = '', name = ''] = command.split(' ');
    expect(manifest.scripts).toHaveProperty(verb === 'run' ? name : verb);
  });
});
