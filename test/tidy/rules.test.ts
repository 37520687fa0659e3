// The rules can complain: each meets a file that breaks it, and one that does not.
import { describe, expect, test } from 'vitest';
import { deadLinks, titles } from './documents.js';
import { unprovoked } from './provoked.js';
import * as rules from './rules.js';
import { parsed, type TypeScriptFile } from './source-tree.js';

const file = (path: string, text: string): TypeScriptFile => parsed({ path, text });
const one = (path: string, text: string): readonly TypeScriptFile[] => [file(path, text)];

describe('import directions', () => {
  const check = (path: string, text: string) => rules.importDirections(one(path, text));

  test.each([
    ['src/os/a.ts', "import { x } from '../base/b.js';"],
    ['src/os/helper/a.ts', "import { x } from '../fd.js';"],
    ['src/client/mqdma/a.ts', "import { x } from '../../device/mqdma/b.js';"],
    ['src/index.ts', "export { x } from './broker/broker.js';"],
    ['src/os/a.test.ts', "import { x } from '../broker/b.js';"],
    ['bench/a.ts', "import { x } from '../src/broker/b.js';"],
  ])('%s %s', (path, text) => {
    expect(check(path, text)).toEqual([]);
  });

  test.each([
    ['src/base/a.ts', "import { x } from '../os/b.js';", 'base imports os'],
    ['src/base/a.ts', "import type { x } from '../os/b.js';", 'base imports os'],
    ['src/lease/a.ts', "export * from '../client/b.js';", 'lease imports client'],
    ['src/client/a.ts', "await import('../broker/b.js');", 'client imports broker'],
    ['src/device/mqdma/a.ts', "import '../../function/b.js';", 'device imports function'],
    ['src/os/a.ts', "import { x } from '../../test/b.js';", 'os imports ../../test/b.js'],
    ['src/other/a.ts', '', 'other is no room'],
  ])('%s %s', (path, text, complaint) => {
    expect(check(path, text)).toEqual([`${path}:1 ${complaint}`]);
  });
});

test('packages', () => {
  const check = (path: string) => rules.packageImports(one(path, "import { x } from 'commander';"));
  expect(check('src/cli/a.ts')).toEqual([]);
  expect(check('src/client/a.test.ts')).toEqual([]);
  expect(check('src/client/a.ts')).toEqual([
    'src/client/a.ts:1 client imports the package commander',
  ]);
  const typeOnly = "import type { x } from 'undici-types';\nimport 'node:fs';";
  expect(rules.packageImports(one('src/os/a.ts', typeOnly))).toEqual([]);
});

test('the addon', () => {
  const text = "\nrequire('../../build/lessor.node');";
  expect(rules.addonLoads(one('src/os/a.ts', text))).toEqual([]);
  expect(rules.addonLoads(one('src/client/a.ts', text))).toEqual([
    'src/client/a.ts:2 loads the addon',
  ]);
});

test('banned calls', () => {
  const text =
    "Date.now();\nsetTimeout(() => {}, 1);\nthrow new Error('x');\nconst d = new Date();";
  expect(rules.bannedUses(one('src/lease/a.ts', text))).toEqual([
    'src/lease/a.ts:1 Date.now',
    'src/lease/a.ts:2 setTimeout',
    'src/lease/a.ts:3 new Error',
    'src/lease/a.ts:4 new Date',
  ]);
  expect(rules.bannedUses(one('src/os/a.ts', text))).toEqual([]);
  expect(rules.bannedUses(one('src/cli/a.ts', 'new Date(wallMs);'))).toEqual([]);
  expect(rules.bannedUses(one('src/demo/a.ts', 'performance.now();'))).toEqual([]);
  expect(rules.bannedUses(one('src/cli/a.ts', 'performance.now();'))).toHaveLength(1);
  expect(rules.bannedUses(one('src/lease/a.ts', '// Date.now()\nclock.after(1, f);'))).toEqual([]);
});

test('lengths', () => {
  const body = (lines: number) => `function f() {\n${'  g();\n'.repeat(lines - 2)}}\n`;
  expect(rules.longFunctions(one('src/os/a.ts', body(70)))).toEqual([]);
  expect(rules.longFunctions(one('src/os/a.ts', body(71)))).toEqual(['src/os/a.ts:1 71 lines']);
  expect(rules.longFiles(one('a.ts', '\n'.repeat(500)))).toEqual([]);
  expect(rules.longFiles(one('a.ts', '\n'.repeat(501)))).toEqual(['a.ts:1 501 lines']);
  expect(rules.longLines(one('a.ts', `// ${'ü'.repeat(97)}`))).toEqual([]);
  expect(rules.longLines(one('a.ts', `// ${'ü'.repeat(98)}`))).toEqual(['a.ts:1 over 100 columns']);
  expect(rules.longLines(one('a.ts', `const x = '${'x'.repeat(100)}';`))).toEqual([]);
  expect(rules.longLines([{ path: 'a.c', text: 'x'.repeat(101) }])).toEqual([
    'a.c:1 over 100 columns',
  ]);
});

test('what is left to do', () => {
  const word = 'TO' + 'DO';
  expect(rules.leftovers(one('a.ts', `\n// ${word}: more`))).toEqual([`a.ts:2 // ${word}: more`]);
  expect(rules.leftovers(one('a.ts', `${word}S`))).toEqual([]);
});

test('headers and names', () => {
  expect(rules.headers(one('src/os/a.ts', '// What lives here.\nconst a = 1;'))).toEqual([]);
  expect(rules.headers(one('src/os/a.ts', 'const a = 1;'))).toEqual([
    'src/os/a.ts:1 has no header',
  ]);
  expect(rules.headers(one('src/os/a.ts', `${'// x\n'.repeat(13)}a();`))).toHaveLength(1);
  expect(rules.fileNames(one('src/os/stream-socket.test.ts', ''))).toEqual([]);
  expect(rules.fileNames(one('src/os/StreamSocket.ts', ''))).toHaveLength(1);
});

test('pages', () => {
  const page = (text: string) => [{ path: 'docs/a.md', text }];
  expect(titles(page('# A\n\n## B\n\n```\n# no title\n```\n'))).toEqual([]);
  expect(titles(page('A\n'))).toEqual(['docs/a.md:1 does not begin with a title']);
  expect(titles(page('# A\n# B\n'))).toEqual(['docs/a.md:2 a second title']);
  expect(titles(page('# A\n### B\n'))).toEqual(['docs/a.md:2 leaves out a level']);
  expect(titles(page('# A'))).toEqual(['docs/a.md:1 does not end with a line end']);
  expect(deadLinks(page('[x](https://a.b) [y](#c) [z](../package.json)'))).toEqual([]);
  expect(deadLinks(page('[x](none.md)'))).toEqual(['docs/a.md:1 links to none.md']);
});

test('codes that no test provokes', () => {
  const named = file('src/os/a.test.ts', "'DENIED' LeaseStale");
  const missing = unprovoked([named, file('src/os/b.ts', "'LEASE_ENDED'")]);
  expect(missing).not.toContain('DENIED');
  expect(missing).not.toContain('LEASE_STALE');
  expect(missing).toContain('LEASE_ENDED');
});
