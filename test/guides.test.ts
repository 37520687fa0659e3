// Keeps the guide for device authors true: its TypeScript stands in source that is compiled and
// tested, its commands start what they say.
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { DeviceGuest } from './support/device-guest.js';
import { Bench, lessorPath, patienceMs } from './support/lessor.js';
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
