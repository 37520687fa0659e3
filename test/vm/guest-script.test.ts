import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { rootPath } from '../tools/root.js';
import { hiddenFolders, quoted, startScript, variableIn } from './guest-script.js';

const word = fc.string({ unit: 'binary' }).filter((text) => !text.includes('\0'));

test('a shell reads a quoted word as it was', () => {
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 5 }), (words) => {
      const script = `printf '%s\\0' ${words.map(quoted).join(' ')}`;
      const printed = execFileSync('sh', ['-c', script], { encoding: 'utf8' });
      expect(printed).toBe(words.map((each) => `${each}\0`).join(''));
    }),
    { numRuns: 50 },
  );
});

test('a script runs its command in a folder with variables', () => {
  const words = ['sh', '-c', 'pwd; echo "$A|$1"; cat', 'sh', "it's $A"];
  const script = startScript({ words, cwd: '/', env: { A: 'b\n"c"' } });
  // A file, as a pipe would break when nobody reads from it.
  const notRead = openSync(rootPath('package.json'), 'r');
  const printed = String(
    execFileSync('sh', ['-c', script], { stdio: [notRead, 'pipe', 'inherit'] }),
  );
  closeSync(notRead);
  expect(printed).toBe('/\nb\n"c"|it\'s $A\n');
});

test('a folder that is not there is no place to run in', () => {
  const script = startScript({ words: ['true'], cwd: '/no such folder', env: {} });
  expect(() => execFileSync('sh', ['-c', script], { stdio: 'ignore' })).toThrow();
});

test('a variable has a name and any value', () => {
  expect(variableIn('A_1=')).toEqual(['A_1', '']);
  expect(variableIn('a=b=c')).toEqual(['a', 'b=c']);
});

test.each(['A', '=b', '1A=b', 'A B=c', 'A;reboot=1', ''])('%j is no variable', (text) => {
  expect(() => variableIn(text)).toThrow(RangeError);
  if (text.includes('=')) {
    const [name = ''] = text.split('=');
    expect(() => startScript({ words: ['true'], cwd: '/', env: { [name]: '' } })).toThrow();
  }
});

test('what fresh folders hide is brought through, once', () => {
  const paths = ['/usr', '/tmp/b/c', '/tmp/b', '/tmpfoo', '/run/x', '/tmp/b', '/home/a', '/tmp'];
  expect(hiddenFolders(paths)).toEqual(['/run/x', '/tmp/b']);
});

test('a path that the list cannot hold is refused', () => {
  expect(() => hiddenFolders(['/tmp/a\nb'])).toThrow(RangeError);
  expect(() => hiddenFolders(['/home/a\nb'])).not.toThrow();
});
