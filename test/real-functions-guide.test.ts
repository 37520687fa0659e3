// Keeps the guide to real functions true: its commands are understood, its rules are the doctor's,
// and the errors it names are there.
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { errorTable } from '../src/base/error-table.js';
import { udevRules } from '../src/doctor/node-text.js';
import { Bench, patienceMs } from './support/lessor.js';
import { codeBlocks } from './support/markdown.js';
import { rootPath } from './tools/root.js';

const bench = new Bench();
const page = readFileSync(rootPath('docs/guides/real-functions.md'), 'utf8');
const lines = codeBlocks(page).flatMap(({ text }) => text.trimEnd().split('\n'));
const commands = lines.filter((line) => line.startsWith('lessor '));

afterAll(() => bench.clear(), patienceMs);

describe('real-functions', { timeout: patienceMs }, () => {
  test('has the commands it is about', () => {
    const names = commands.map((line) => line.split(' ')[1]);
    expect(new Set(names)).toEqual(new Set(['doctor', 'bind', 'serve', 'acquire', 'unbind']));
  });

  // What a command does to a function cannot be tried here: one that no machine has is named.
  test.each([...new Set(commands)])('%s is understood', async (command) => {
    const words = command.replace('0000:00:05.0', 'ffff:ff:1f.7').split(' ').slice(1);
    const all = words[0] === 'serve' ? [...words, '--help'] : words;
    const { status, stderr } = await bench.run(all);
    expect(status).not.toBe(2);
    expect(stderr).not.toContain('a bug in lessor');
    expect(stderr).not.toContain('unknown');
  });

  test('has the rules that the doctor prints', () => {
    const facts = { address: '0000:00:05.0', group: undefined, hasCharacterDevice: true };
    const rules = udevRules(facts);
    expect(rules).toHaveLength(2);
    for (const rule of rules) expect(lines).toContain(rule);
  });

  test('names errors that there are', () => {
    const first = [...page.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, word]) => word);
    expect(first).toHaveLength(6);
    for (const code of first) expect(Object.keys(errorTable)).toContain(code);
  });
});
