import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { run } from './run.js';

test('a command that fails says what it wrote last', async () => {
  expect(await run('echo', ['done'])).toBe('done\n');
  const failing = run('sh', ['-c', 'echo first; echo last >&2; exit 3']);
  await expect(failing).rejects.toThrow('sh ended with 3: first');
  await expect(run('no-such-program', [])).rejects.toThrow('ENOENT');
});

test('lines are told as they come', async () => {
  const lines: string[] = [];
  await run('sh', ['-c', 'echo a; echo b; printf c'], { onLine: (line) => lines.push(line) });
  expect(lines).toEqual(['a', 'b', 'c']);
});

test('folder and environment are its own', async () => {
  const said = await run('sh', ['-c', 'pwd; echo $WORD'], { cwd: '/', env: { WORD: 'one' } });
  expect(said).toBe('/\none\n');
});

test('an interruption ends it and what it started', async () => {
  const controller = new AbortController();
  let child = 0;
  const running = run('sh', ['-c', 'sleep 60 & echo $!; wait'], {
    signal: controller.signal,
    onLine: (line) => {
      child = Number(line);
      controller.abort();
    },
  });
  await expect(running).rejects.toThrow('SIGKILL');
  const isGone = !existsSync(`/proc/${child}`);
  expect(isGone || readFileSync(`/proc/${child}/stat`, 'utf8').includes(') Z ')).toBe(true);
  const late = run('true', [], { signal: controller.signal });
  await expect(late).rejects.toThrow('interrupted');
});
