// The examples as a user runs them: each as a process of its own, driven over its socket.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { edu, eduRegister } from '../src/device/edu/registers.js';
import { mqdma } from '../src/device/mqdma/datasheet.js';
import {
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
} from '../src/uapi/vfio.js';
import { DeviceGuest, guestIova, type MemoryWay } from './support/device-guest.js';
import { Bench, patienceMs, type Running } from './support/lessor.js';
import { copyWith } from './support/mqdma-guest.js';
import { rootPath } from './tools/root.js';

const bench = new Bench();
const names = readdirSync(rootPath('examples')).map((file) => file.replace(/\.ts$/, ''));
const devices = names.filter((name) => !name.endsWith('-client'));
const sourceOf = (name: string) => readFileSync(rootPath(`examples/${name}.ts`), 'utf8');
const pathOf = (name: string) => join(bench.directory, `${name}.sock`);

afterAll(() => bench.clear(), patienceMs);

async function serve(name: string): Promise<Running> {
  const program = [process.execPath, rootPath(`dist/examples/${name}.js`)];
  const running = bench.start([pathOf(name)], { program });
  await running.saying(/serving on (\S+)\n/);
  return running;
}

async function ends(running: Running, name: string, signal: NodeJS.Signals): Promise<void> {
  expect(existsSync(pathOf(name))).toBe(true);
  expect(await running.stop(signal)).toMatchObject({ status: 0, signal: null, stderr: '' });
  expect(existsSync(pathOf(name))).toBe(false);
}

describe('every example', () => {
  test('is run here', () => {
    expect(names.sort()).toEqual(['counter', 'edu', 'edu-client', 'mqdma']);
  });

  test.each(devices)('%s shows how it is plugged into QEMU', (name) => {
    const header =
      sourceOf(name)
        .split(/^[^/]/m)[0]
        ?.replace(/^\/\/ ?/gm, '') ?? '';
    const [, path = ''] = /^ +node dist\/examples\/\w+\.js (\S+)$/m.exec(header) ?? [];
    expect(sourceOf(name)).toContain(`const [path = '${path}']`);
    const [, device = ''] = /-device '(.*)'/.exec(header) ?? [];
    expect(JSON.parse(device)).toEqual({
      driver: 'vfio-user-pci',
      socket: { type: 'unix', path },
    });
    // The device can reach the guest's memory only if it is a shared file.
    const [, id = ''] =
      /-object memory-backend-memfd,id=(\w+),size=1G,share=on /.exec(header) ?? [];
    expect(header).toContain(`-M q35,memory-backend=${id} -m 1G `);
  });
});

describe('counter', { timeout: patienceMs }, () => {
  const [COUNT, ADD, COMPARE, ACKNOWLEDGE] = [0x0, 0x4, 0x8, 0xc];

  test('is a device in under 60 lines', () => {
    expect(sourceOf('counter').trimEnd().split('\n').length).toBeLessThan(60);
  });

  test('counts, and interrupts by MSI and by its pin', async () => {
    const running = await serve('counter');
    using guest = await DeviceGuest.connect(pathOf('counter'));
    const { client } = guest;
    expect(await guest.pciId()).toBe('1234:0001');
    await guest.bind(VFIO_PCI_MSI_IRQ_INDEX);
    await client.write32(0, COMPARE, 10);
    await client.write32(0, ADD, 9);
    expect([await client.read32(0, COUNT), await client.read32(0, COMPARE)]).toEqual([9, 10]);
    expect(guest.heard).toEqual([]);
    await client.write32(0, ADD, 1);
    expect(await guest.interrupt()).toBe(0);
    await client.reset();
    expect(await client.read32(0, COUNT)).toBe(0);
    await ends(running, 'counter', 'SIGINT');
  });

  test('holds its pin until it is acknowledged', async () => {
    const running = await serve('counter');
    using guest = await DeviceGuest.connect(pathOf('counter'));
    const { client } = guest;
    await guest.bind(VFIO_PCI_INTX_IRQ_INDEX);
    await client.write32(0, COMPARE, 1);
    await client.write32(0, ADD, 1);
    expect(await guest.interrupt()).toBe(0);
    await guest.unmaskIntx();
    expect(await guest.interrupt()).toBe(0);
    await client.write32(0, ACKNOWLEDGE, 1);
    await guest.unmaskIntx();
    await client.read32(0, COUNT);
    expect(guest.heard).toEqual([]);
    await ends(running, 'counter', 'SIGTERM');
  });
});

describe('edu', { timeout: patienceMs }, () => {
  test.each<MemoryWay>(['descriptor', 'message'])('moves memory by %s', async (way) => {
    const running = await serve('edu');
    using guest = await DeviceGuest.connect(pathOf('edu'), way);
    const { client, memory } = guest;
    const { DMA_SOURCE, DMA_DESTINATION, DMA_COUNT, DMA_COMMAND } = eduRegister;
    const { INTERRUPT_STATUS, INTERRUPT_ACKNOWLEDGE } = eduRegister;
    expect(await guest.pciId()).toBe('1234:11e8');
    expect(await client.read32(0, eduRegister.IDENTIFICATION)).toBe(edu.identification);
    await guest.bind(VFIO_PCI_MSI_IRQ_INDEX);
    await client.write32(0, eduRegister.STATUS, 0x80);
    await client.write32(0, eduRegister.FACTORIAL, 12);
    expect(await guest.interrupt()).toBe(0);
    expect(await client.read32(0, eduRegister.FACTORIAL)).toBe(479_001_600);
    await client.write32(0, INTERRUPT_ACKNOWLEDGE, 1);

    memory.forEach((_, at) => {
      memory[at] = at % 251;
    });
    const move = async (source: number, destination: number, command: number) => {
      await client.write64(0, DMA_SOURCE, BigInt(source));
      await client.write64(0, DMA_DESTINATION, BigInt(destination));
      await client.write64(0, DMA_COUNT, 4096n);
      await client.write32(0, DMA_COMMAND, command);
      expect(await guest.interrupt()).toBe(0);
      expect(await client.read32(0, INTERRUPT_STATUS)).toBe(0x100);
      await client.write32(0, INTERRUPT_ACKNOWLEDGE, 0x100);
    };
    await move(guestIova + 100, edu.bufferAt, 5);
    await move(edu.bufferAt, guestIova + 0x8000, 7);
    const moved = memory.subarray(0x8000, 0x9000);
    expect(Buffer.compare(moved, memory.subarray(100, 4196))).toBe(0);
    await ends(running, 'edu', 'SIGTERM');
  });
});

describe('mqdma', { timeout: patienceMs }, () => {
  test('copies memory', async () => {
    const running = await serve('mqdma');
    using guest = await DeviceGuest.connect(pathOf('mqdma'));
    expect(await guest.client.read32(mqdma.controlRegion, 0)).toBe(mqdma.id);
    await guest.bind(VFIO_PCI_MSIX_IRQ_INDEX, 5);
    expect(await copyWith(guest, 1, 50_000)).toBe(true);
    expect(await guest.interrupt()).toBe(1);
    await ends(running, 'mqdma', 'SIGTERM');
  });
});

describe('edu-client', { timeout: patienceMs }, () => {
  const program = [process.execPath, rootPath('dist/examples/edu-client.js')];
  const told = (isolation: string) =>
    [
      `isolation ${isolation}, revocation mediated, registers message`,
      '12! = 479001600, told by interrupt',
      '4096 bytes to the device and back in \\d+ ms: same\n$',
    ].join('\n');

  test('works on an embedded device', async () => {
    const broker = await bench.serve(['--driver', 'edu']);
    const end = await bench.run([], { program });
    expect(end).toMatchObject({ status: 0, stderr: '' });
    expect(end.stdout).toMatch(new RegExp(`^${told('exclusive')}`));
    const more = await bench.run(['--factorial', '34', '--revocation', 'mediated'], { program });
    expect(more).toMatchObject({ status: 0, stderr: '' });
    expect(more.stdout).toContain('34! = 0, told by interrupt');
    await broker.stop();
  });

  test('works on the example device, whose driver is found', async () => {
    const device = await serve('edu');
    const broker = await bench.serve(['--function', `vfio-user:${pathOf('edu')}`]);
    const env = { LESSOR_SOCKET: join(bench.directory, 'mqdma0.sock') };
    const end = await bench.run([], { program, env });
    expect(end).toMatchObject({ status: 0, stderr: '' });
    expect(end.stdout).toMatch(new RegExp(`^${told('server')}`));
    await broker.stop();
    await ends(device, 'edu', 'SIGTERM');
  });

  test('says what is wrong when there is no broker, or no such lease', async () => {
    expect(await bench.run([], { program })).toMatchObject({ status: 1, stderr: /^edu-client: / });
    const broker = await bench.serve();
    const end = await bench.run([], { program });
    expect(end).toMatchObject({ status: 1, stderr: /no slice of kind "edu"/ });
    await broker.stop();
  });
});
