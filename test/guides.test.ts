// Keeps the guides for authors of devices and drivers true: their TypeScript stands in source that
// is compiled and tested, their commands start what they say.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { limits } from '../src/base/limits.js';
import { defaultDeadlines } from '../src/broker/options.js';
import { eduRegister } from '../src/device/edu/registers.js';
import { reclaimPhases } from '../src/lease/types.js';
import { DeviceGuest } from './support/device-guest.js';
import { Bench, lessorPath, patienceMs, type Running } from './support/lessor.js';
import { codeBlocks } from './support/markdown.js';
import { rootPath } from './tools/root.js';

const bench = new Bench();
const guide = readFileSync(rootPath('docs/guides/write-a-device.md'), 'utf8');
const blocks = codeBlocks(guide);
const sources = [
  'examples/counter.ts',
  'src/device/counter/device.ts',
  'src/device/edu/dma-engine.ts',
  'src/device/mqdma/device.ts',
].map((path) => readFileSync(rootPath(path), 'utf8'));
const commands = blocks
  .filter(({ language }) => language === 'sh')
  .flatMap(({ text }) => text.trimEnd().split('\n'));

afterAll(() => bench.clear(), patienceMs);

describe('write-a-device', { timeout: patienceMs }, () => {
  test.each(blocks.filter(({ language }) => language === 'ts'))(
    'quotes source at line $lineNumber',
    ({ text }) => {
      expect(sources.filter((source) => source.includes(text))).toHaveLength(1);
    },
  );

  test('has code of known kinds', () => {
    const counts = ['ts', 'sh', 'text'].map(
      (kind) => blocks.filter(({ language }) => language === kind).length,
    );
    expect(counts).toEqual([7, 2, 1]);
    expect(blocks).toHaveLength(10);
  });

  test('has a QEMU command that the example understands', () => {
    const [, device = ''] = /-device '(.*)'/.exec(guide) ?? [];
    const { socket } = JSON.parse(device) as { socket: { path: string } };
    expect(commands[0]).toContain(socket.path);
  });

  test.each(commands)('starts a device with %s', async (command) => {
    const [, path = ''] = / (?:--listen )?(\/tmp\/\S+\.sock)/.exec(command) ?? [];
    const own = path.replace('/tmp', bench.directory);
    const [program = '', ...words] = command.replace(path, own).split(' ');
    const first = program === 'lessor' ? [lessorPath] : [];
    const running = bench.start([...first, ...words], {
      program: [process.execPath],
      cwd: rootPath('.'),
    });
    await Promise.race([running.saying(/serving on/), running.saying(/ on \/\S+\n/, 'stderr')]);
    using guest = await DeviceGuest.connect(own);
    expect(await guest.pciId()).toMatch(/^1234:/);
    expect((await running.stop()).status).toBe(0);
  });
});

describe('write-a-driver', { timeout: patienceMs }, () => {
  const page = codeBlocks(readFileSync(rootPath('docs/guides/write-a-driver.md'), 'utf8'));
  const folder = rootPath('src/driver/edu');
  const quotable = readdirSync(folder)
    .filter((name) => !name.includes('.test.'))
    .map((name) => readFileSync(join(folder, name), 'utf8'));
  const scripts = page.filter(({ language }) => language === 'sh');

  test.each(page.filter(({ language }) => language === 'ts'))(
    'quotes the driver at line $lineNumber',
    ({ text }) => {
      expect(quotable.filter((source) => source.includes(text))).toHaveLength(1);
    },
  );

  test('has code of known kinds', () => {
    const counts = ['ts', 'sh', 'text'].map(
      (kind) => page.filter(({ language }) => language === kind).length,
    );
    expect(counts).toEqual([11, 2, 1]);
    expect(page).toHaveLength(14);
  });

  test.each(scripts)('runs what stands at line $lineNumber', async ({ text }) => {
    const own = text.replaceAll('/tmp/', `${bench.directory}/`);
    const serving: Running[] = [];
    for (const line of own.trimEnd().split('\n')) {
      const [program = '', ...words] = line.split(' ');
      if (program === 'lessor') {
        const running = bench.start(words, { cwd: rootPath('.') });
        await running.saying(/ on \/\S+\n/, 'stderr');
        serving.unshift(running);
      } else {
        expect([program, words]).toEqual(['node', ['dist/examples/edu-client.js']]);
        const end = await bench.run(words, { program: [process.execPath], cwd: rootPath('.') });
        expect(end).toMatchObject({ status: 0, stderr: '' });
        expect(end.stdout).toMatch(/12! = 479001600.*\n4096 bytes.*: same\n$/);
      }
    }
    for (const running of serving) expect((await running.stop()).status).toBe(0);
  });

  test('says what deadlines and limits are', () => {
    const text = readFileSync(rootPath('docs/guides/write-a-driver.md'), 'utf8');
    const { grantMs, quiesceMs, resetSliceMs, resetFunctionMs } = defaultDeadlines;
    expect([grantMs, quiesceMs, resetSliceMs, resetFunctionMs]).toEqual([2000, 500, 500, 5000]);
    expect(text).toContain('The deadline is 2 s.');
    expect(text).toContain('`quiesce` has 500 ms, `reset` another 500 ms');
    expect(text).toContain('reset and restart together is 5 s');
    expect(text).toContain(
      `at most ${limits.kicksPerSecondMax.toLocaleString('en')} times a second`,
    );
  });

  test('names every register of EDU and every phase', () => {
    const text = readFileSync(rootPath('docs/guides/write-a-driver.md'), 'utf8');
    for (const phase of reclaimPhases)
      expect(text).toMatch(new RegExp(`^\\| .*\\b${phase}\\b`, 'm'));
    for (const name of Object.keys(eduRegister)) {
      const word = name.split('_').at(-1)!.toLowerCase();
      expect(text).toMatch(new RegExp(`^\\| .*\\b${word}\\b.*\\| yes \\|`, 'm'));
    }
  });
});
