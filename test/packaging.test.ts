// The package as a user gets it: packed, unpacked elsewhere, imported from there.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
};
const specifiers = Object.keys(manifest.exports).map((key) => manifest.name + key.slice(1));

describe('the packed package', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lessor-package-'));
  const modules = join(folder, 'node_modules');
  const installed = join(modules, manifest.name);
  let files: readonly string[] = [];

  function node(...args: string[]): string {
    return execFileSync(process.execPath, args, { cwd: folder, encoding: 'utf8' });
  }

  beforeAll(() => {
    const args = ['pack', '--json', '--ignore-scripts', '--offline', '--pack-destination', folder];
    const env = { ...process.env, npm_config_cache: join(folder, 'cache') };
    const printed = execFileSync('npm', args, {
      cwd: root,
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [packed] = JSON.parse(printed) as [
      { readonly filename: string; readonly files: readonly { readonly path: string }[] },
    ];
    files = packed.files.map(({ path }) => path);
    mkdirSync(modules);
    execFileSync('tar', ['-xzf', join(folder, packed.filename), '-C', folder]);
    renameSync(join(folder, 'package'), installed);
    for (const name of Object.keys(manifest.dependencies)) {
      symlinkSync(join(root, 'node_modules', name), join(modules, name));
    }
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n');
  }, 60_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('holds what it needs and no tests', () => {
    for (const wanted of ['LICENSE', 'README.md', 'CHANGELOG.md', 'package.json']) {
      expect(files).toContain(wanted);
    }
    for (const target of [...Object.values(manifest.exports), ...Object.values(manifest.bin)]) {
      expect(files).toContain(target.replace(/^\.\//, ''));
    }
    expect(files.filter((path) => /\.test\.|^dist\/(bench|test)\//.test(path))).toEqual([]);
  });

  it.each(specifiers)('%s can be imported and exports something', (specifier) => {
    const script = `const all = await import('${specifier}'); console.log(Object.keys(all).length)`;
    writeFileSync(join(folder, 'import.js'), script);
    expect(Number(node('import.js'))).toBeGreaterThan(0);
  });

  it('brings its native parts', () => {
    const script = `import { createOs } from 'lessor'; console.log(createOs().memory.pageBytes)`;
    writeFileSync(join(folder, 'native.js'), script);
    expect(Number(node('native.js'))).toBeGreaterThanOrEqual(4096);
  });

  it('types resolve from outside', () => {
    const lines = specifiers.map(
      (specifier, index) => `import * as m${index} from '${specifier}';`,
    );
    const used = specifiers.map((_, index) => `m${index}`).join(', ');
    writeFileSync(join(folder, 'types.ts'), `${lines.join('\n')}\nexport default [${used}];\n`);
    symlinkSync(join(root, 'node_modules', '@types'), join(modules, '@types'));
    const flags = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022'];
    const libraries = ['--lib', 'es2023,esnext.disposable', '--types', 'node'];
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
    expect(node(tsc, ...flags, ...libraries, 'types.ts')).toBe('');
  }, 60_000);

  it('has a command that starts from there', () => {
    const [bin = ''] = Object.values(manifest.bin);
    expect(existsSync(join(installed, bin))).toBe(true);
    expect(node(join(installed, bin), '--version')).toContain(manifest.version);
  });
});
