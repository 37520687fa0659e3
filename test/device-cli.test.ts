// `lessor device` as users run it.
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { counterControl, counterRegister } from '../src/device/counter/registers.js';
import { eduRegister } from '../src/device/edu/registers.js';
import { VFIO_PCI_MSIX_IRQ_INDEX } from '../src/uapi/vfio.js';
import { DeviceGuest, guestIova, type MemoryWay } from './support/device-guest.js';
import { Bench, patienceMs, type Running } from './support/lessor.js';
import { copyWith } from './support/mqdma-guest.js';

const bench = new Bench();
let pathCount = 0;

afterAll(() => bench.clear(), patienceMs);

function newPath(): string {
  pathCount += 1;
  return join(bench.directory, `${pathCount}.sock`);
}

interface Served {
  readonly running: Running;
  readonly path: string;
}

async function serve(...words: string[]): Promise<Served> {
  const path = newPath();
  const running = bench.start(['device', 'serve', ...words, '--listen', path, '--json']);
  await running.saying(/\n/);
  const [device] = words;
  expect(JSON.parse(running.stdout)).toEqual({ device, listen: path, pid: running.pid });
  return { running, path };
}

async function stops({ running, path }: Served, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  expect(await running.stop(signal)).toMatchObject({ status: 0, signal: null, stderr: '' });
  expect(existsSync(path)).toBe(false);
}

describe('device list', { timeout: patienceMs }, () => {
  test('names what can be served, for people and for programs', async () => {
    const [table, json] = await Promise.all([
      bench.run(['device', 'list']),
      bench.run(['device', 'list', '--json']),
    ]);
    expect(table).toMatchObject({ status: 0, stderr: '' });
    expect(table.stdout).toMatch(/^DEVICE +PCI ID +WHAT\n/);
    const rows = JSON.parse(json.stdout) as readonly { name: string; pciId: string }[];
    expect(rows.map(({ name, pciId }) => [name, pciId])).toEqual([
      ['counter', '1234:636e'],
      ['edu', '1234:11e8'],
      ['mqdma', '1234:6d71'],
    ]);
    for (const { name } of rows) expect(table.stdout).toContain(`\n${name} `);
  });
});

describe('device serve', { timeout: patienceMs }, () => {
  test('a counter, with its page mapped and its vector', async () => {
    const served = await serve('counter');
    expect(statSync(served.path).mode & 0o777).toBe(0o600);
    using guest = await DeviceGuest.connect(served.path);
    const { client } = guest;
    await guest.bind(VFIO_PCI_MSIX_IRQ_INDEX);
    await client.write32(0, counterRegister.COMPARE, 20);
    await client.write32(0, counterRegister.CONTROL, counterControl.RUN | counterControl.INTERRUPT);
    expect(await guest.interrupt()).toBe(0);
    const region = await client.regionInfo(1);
    expect(region.areas).toEqual([{ offsetBytes: 0, lengthBytes: 4096 }]);
    region.fd?.close();
    expect(await client.read32(1, 0)).toBeGreaterThanOrEqual(20);
    expect(await client.read32(1, 4)).toBe(1);
    await stops(served);
  });

  test('an EDU device, by message alone and with its options', async () => {
    const served = await serve('edu', '--dma', 'message', '--dma-bits', '32', '--dma-delay', '5ms');
    using guest = await DeviceGuest.connect(served.path, 'message');
    const { client, memory } = guest;
    memory.fill(0x5a, 0, 64);
    await client.write64(0, eduRegister.DMA_SOURCE, BigInt(guestIova));
    await client.write64(0, eduRegister.DMA_DESTINATION, 0x40000n);
    await client.write32(0, eduRegister.DMA_COUNT, 64);
    await client.write32(0, eduRegister.DMA_COMMAND, 1);
    await guest.until(eduRegister.DMA_COMMAND, (value) => (value & 1) === 0);
    await client.write64(0, eduRegister.DMA_SOURCE, 0x40000n);
    await client.write64(0, eduRegister.DMA_DESTINATION, BigInt(guestIova + 4096));
    await client.write32(0, eduRegister.DMA_COMMAND, 3);
    await guest.until(eduRegister.DMA_COMMAND, (value) => (value & 1) === 0);
    expect(memory.subarray(4096, 4160).every((byte) => byte === 0x5a)).toBe(true);
    await stops(served, 'SIGINT');
  });

  test('mqdma, with as many queues as asked for', async () => {
    const served = await serve('mqdma', '--queues', '3', '--mode', '0640');
    expect(statSync(served.path).mode & 0o777).toBe(0o640);
    using guest = await DeviceGuest.connect(served.path);
    expect(await copyWith(guest, 2, 4096)).toBe(true);
    await stops(served);
  });

  // A guest's memory comes with a descriptor; the device asks for it all the same.
  test.each<MemoryWay>(['descriptor', 'message'])('mqdma by message, memory by %s', async (way) => {
    const served = await serve('mqdma', '--dma', 'message');
    using guest = await DeviceGuest.connect(served.path, way);
    await guest.bind(VFIO_PCI_MSIX_IRQ_INDEX, 17);
    expect(await copyWith(guest, 15, 50_000)).toBe(true);
    expect(await guest.interrupt()).toBe(15);
    await stops(served);
  });

  test('says to people what is where', async () => {
    const path = newPath();
    const running = bench.start(['device', 'serve', 'edu', '--listen', path]);
    await running.saying(/\n/, 'stderr');
    expect(running.stderr).toBe(`lessor: edu (1234:11e8) on ${path}\n`);
    expect((await running.stop()).stdout).toBe('');
  });

  test('the next client finds the device as the one before left it', async () => {
    const served = await serve('edu');
    {
      using guest = await DeviceGuest.connect(served.path);
      await guest.client.write32(0, eduRegister.LIVENESS, 0x1234);
    }
    using next = await DeviceGuest.connect(served.path);
    expect(await next.client.read32(0, eduRegister.LIVENESS)).toBe(0xffffedcb);
    await stops(served);
  });
});

describe('device serve says what to do', { timeout: patienceMs }, () => {
  const edu = ['device', 'serve', 'edu'];

  test('when somebody listens there, who lives on', async () => {
    const served = await serve('edu');
    const second = await bench.run([...edu, '--listen', served.path]);
    expect(second).toMatchObject({ status: 3, stdout: '' });
    expect(second.stderr).toMatch(/somebody listens on .* \(ADDRESS_IN_USE\)\n {2}end who listens/);
    using guest = await DeviceGuest.connect(served.path);
    expect(await guest.pciId()).toBe('1234:11e8');
    await stops(served);
  });

  test('nothing when the one who listened there died: the path is taken over', async () => {
    const first = await serve('edu');
    await first.running.stop('SIGKILL');
    expect(existsSync(first.path)).toBe(true);
    const second = bench.start([...edu, '--listen', first.path, '--json']);
    await second.saying(/\n/);
    await stops({ running: second, path: first.path });
  });

  test.each<[string, readonly string[], number, RegExp]>([
    ['a missing folder', ['edu', '--listen', '/none/a.sock'], 2, /no folder \/none.*\n {2}make it/],
    ['a long path', ['edu', '--listen', `/${'x'.repeat(120)}`], 2, /107.*\n {2}.*shorter/],
    ['no path', ['edu'], 2, /--listen/],
    ['no device', ['disk', '--listen', '/tmp/a'], 2, /"disk".*\n {2}there is counter, edu, mqdma/],
    ['no such property', ['toString', '--listen', '/tmp/a'], 2, /no device "toString"/],
    ['a strange mode', ['edu', '--listen', '/tmp/a', '--mode', '999'], 2, /octal/],
    ['a strange way', ['edu', '--listen', '/tmp/a', '--dma', 'fast'], 2, /direct, message/],
    ['too many queues', ['mqdma', '--listen', '/tmp/a', '--queues', '1025'], 2, /1\.\.1024/],
    ['too many bits', ['edu', '--listen', '/tmp/a', '--dma-bits', '49'], 2, /0\.\.48/],
    [
      "another's option",
      ['edu', '--listen', '/tmp/a', '--queues', '4'],
      2,
      /edu takes no --queues/,
    ],
  ])('about %s', async (_, words, status, pattern) => {
    const done = await bench.run(['device', 'serve', ...words]);
    expect(done).toMatchObject({ status, stdout: '' });
    expect(done.stderr).toMatch(pattern);
  });

  test('about a file that is no socket, which stays', async () => {
    const path = newPath();
    writeFileSync(path, 'precious');
    const done = await bench.run([...edu, '--listen', path]);
    expect(done).toMatchObject({ status: 2, stdout: '' });
    expect(done.stderr).toMatch(/is not a socket/);
    expect(existsSync(path)).toBe(true);
  });

  test.skipIf(process.getuid?.() === 0)('about a folder that is closed', async () => {
    const folder = join(bench.directory, 'closed');
    mkdirSync(folder, { mode: 0o500 });
    const done = await bench.run([...edu, '--listen', join(folder, 'a.sock')]);
    expect(done).toMatchObject({ status: 4, stdout: '' });
    expect(done.stderr).toMatch(/DENIED.*\n {2}choose a folder/);
  });

  test('in its help', async () => {
    const done = await bench.run([...edu, '--help']);
    expect(done).toMatchObject({ status: 0, stderr: '' });
    expect(done.stdout).toContain('lessor device serve mqdma --queues 4');
    const [, device = ''] = /-device '(.*)'/.exec(done.stdout) ?? [];
    expect(JSON.parse(device)).toMatchObject({ driver: 'vfio-user-pci' });
  });
});
