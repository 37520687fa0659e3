// EDU leased whole, in processes as users have them: embedded, and served by another process.
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  type AdminClient,
  type Client,
  connect,
  connectAdmin,
  type Lease,
} from '../src/client/index.js';
import { adminPathOf } from '../src/client/run-directory.js';
import { EduDevice } from '../src/device/edu/device.js';
import { edu, eduRegister } from '../src/device/edu/registers.js';
import type { Bus, Value, Width } from '../src/device/types.js';
import type { EventRecord } from '../src/varlink/interface.js';
import { serveDevice } from '../src/vfio-user/index.js';
import { eventually } from './support/broker-fixture.js';
import { Bench, patienceMs, type Running } from './support/lessor.js';
import { rootPath } from './tools/root.js';

const example = [process.execPath, rootPath('dist/examples/edu-client.js')];
const toMemory = 3;
const toBuffer = 1;

/** Sets a transfer going; it lands 100 ms later. */
async function start(lease: Lease, from: number, to: number, command: number): Promise<void> {
  const window = lease.window('registers');
  await window.write32(eduRegister.DMA_SOURCE, from);
  await window.write32(eduRegister.DMA_DESTINATION, to);
  await window.write32(eduRegister.DMA_COUNT, edu.bufferBytes);
  await window.write32(eduRegister.DMA_COMMAND, command);
}

async function landed(lease: Lease): Promise<void> {
  const window = lease.window('registers');
  await eventually('the transfer lands', async () => {
    return ((await window.read32(eduRegister.DMA_COMMAND)) & 1) === 0;
  });
}

class World {
  readonly bench = new Bench();
  readonly events: EventRecord[] = [];
  broker!: Running;
  client!: Client;
  admin!: AdminClient;

  async open(words: readonly string[]): Promise<void> {
    this.broker = this.bench.start(['serve', '--json', ...words]);
    const [line] = await this.broker.saying(/\{.*\}/);
    const { socket } = JSON.parse(line) as { socket: string };
    this.client = await connect({ socket });
    this.admin = await connectAdmin({ socket: adminPathOf(socket) });
    this.client.monitor((event) => this.events.push(event)).done.catch(() => undefined);
    await this.client.info();
  }

  acquire(): Promise<Lease> {
    return this.client.acquire({ memoryBytes: 16_384, waitMs: patienceMs });
  }

  async close(): Promise<void> {
    this.client.close();
    this.admin.close();
    const end = await this.broker.stop();
    expect(end.status).toBe(0);
    expect(end.stderr).not.toMatch(/a bug in lessor/);
    await this.bench.clear();
  }
}

describe('embedded', { timeout: patienceMs }, () => {
  const world = new World();
  beforeAll(() => world.open(['--driver', 'edu']), patienceMs);
  afterAll(() => world.close(), patienceMs);
  afterEach(() => {
    world.events.length = 0;
  });

  test('is one slice, alone on its function, with 28 bits of reach', async () => {
    const info = await world.client.info();
    expect(info.function).toMatchObject({ isolation: 'exclusive', driver: 'edu' });
    expect(info.slices.map(({ name }) => name)).toEqual(['edu']);
    await using lease = await world.acquire();
    expect(lease.record).toMatchObject({ isolation: 'exclusive', exclusive: true, vectors: 1 });
    const { iovaBase, iovaBytes } = lease.record;
    expect(iovaBase + iovaBytes).toBeLessThanOrEqual(2 ** 28);
    await expect(world.client.acquire({ memoryBytes: 2 ** 28 })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });

  test('a lease given up with a transfer under way ends after it, and shows the next no byte', async () => {
    const first = await world.acquire();
    const memory = await first.memory.allocate(8192);
    memory.u8.fill(0x77);
    await start(first, memory.iova, edu.bufferAt, toBuffer);
    await landed(first);
    await start(first, edu.bufferAt, memory.iova + 4096, toMemory);
    const { iova } = memory;
    await first.close();
    const phase = (name: string) => world.events.find((event) => event.phase === name);
    expect(phase('quiesce')).toMatchObject({ outcome: 'idle' });
    expect(phase('quiesce')?.micros).toBeGreaterThan(50_000);
    expect(phase('unmap')).toMatchObject({ outcome: 'done' });

    await using next = await world.acquire();
    const own = await next.memory.allocate(8192);
    expect(own.iova).toBe(iova);
    own.u8.fill(1);
    await start(next, edu.bufferAt, own.iova, toMemory);
    await landed(next);
    expect(own.u8.subarray(0, 4096).every((byte) => byte === 0)).toBe(true);
    expect(own.u8.subarray(4096).every((byte) => byte === 1)).toBe(true);
  });

  test('a holder that is killed, whenever, leaves a device that works', async () => {
    for (let round = 0; round < 3; round += 1) {
      const holder = world.bench.start(['--rounds', '1000'], { program: example });
      await holder.saying(round === 0 ? /isolation/ : /told by interrupt/);
      await holder.stop('SIGKILL');
      const after = await world.bench.run([], { program: example });
      expect(after).toMatchObject({ status: 0, stderr: '' });
    }
    expect(world.events.filter(({ type }) => type === 'quarantined')).toEqual([]);
  });

  test('a reset of the function ends the lease; the next one works', async () => {
    const lease = await world.acquire();
    const epoch = await world.admin.reset('test');
    expect((await lease.ended).reason).toContain('reset');
    await lease.close();
    await using next = await world.acquire();
    expect(next.record.epoch).toBe(epoch);
  });
});

describe('served by a process that lies', { timeout: patienceMs }, () => {
  class Liar extends EduDevice {
    lie: Readonly<Record<number, number>> = {};
    /** What goes to memory is changed in one byte, unless all are alike. */
    spoils = false;

    override attach(bus: Bus): void {
      const write: Bus['write'] = (pasid, iova, bytes) => {
        const spoilt = Uint8Array.from(bytes);
        if (this.spoils && bytes.some((byte) => byte !== bytes[0])) spoilt[77]! ^= 1;
        return bus.write(pasid, iova, spoilt);
      };
      const get = (_: Bus, key: keyof Bus): unknown => {
        if (key === 'write') return write;
        const member = bus[key];
        return typeof member === 'function' ? member.bind(bus) : member;
      };
      super.attach(new Proxy(bus, { get: get as ProxyHandler<Bus>['get'] & object }));
    }

    override read(region: number, offsetBytes: number, width: Width): Value {
      return this.lie[offsetBytes] ?? super.read(region, offsetBytes, width);
    }
  }
  const world = new World();
  const device = new Liar({ dmaDelayMs: 10 });
  let server: AsyncDisposable;
  beforeAll(async () => {
    const path = join(world.bench.directory, 'edu.sock.device');
    server = await serveDevice(device, { path });
    await world.open(['--function', `vfio-user:${path}`]);
  }, patienceMs);
  afterEach(() => {
    device.lie = {};
    device.spoils = false;
  });
  afterAll(async () => {
    await world.close();
    await server[Symbol.asyncDispose]();
  }, patienceMs);

  test('the driver that fits is found, and the label is server', async () => {
    const { driver, isolation } = (await world.client.info()).function;
    expect({ driver, isolation }).toEqual({ driver: 'edu', isolation: 'server' });
    await using lease = await world.acquire();
    expect(lease.record).toMatchObject({ isolation: 'server', exclusive: true });
  });

  test('the example notices a wrong factorial, and a byte that changed on its way', async () => {
    expect((await world.bench.run([], { program: example })).status).toBe(0);
    device.lie = { [eduRegister.FACTORIAL]: 42 };
    const wrong = await world.bench.run([], { program: example });
    expect(wrong.stderr).toMatch(/479001600 modulo 2\^32, not 42/);
    device.lie = {};
    device.spoils = true;
    const spoilt = await world.bench.run([], { program: example });
    expect(spoilt.stderr).toMatch(/byte 77 came back as/);
    expect([wrong.status, spoilt.status]).toEqual([1, 1]);
  });

  test('one that is never idle is put in quarantine, and let out when it rests', async () => {
    const lease = await world.acquire();
    device.lie = { [eduRegister.STATUS]: 1 };
    await lease.close();
    await eventually('quarantine', () => world.events.some(({ type }) => type === 'quarantined'));
    const refused = { code: 'NO_FREE_SLICE', message: expect.stringContaining('quarantine') };
    await expect(world.client.acquire({ memoryBytes: 4096 })).rejects.toMatchObject(refused);
    await expect(world.admin.releaseQuarantine('edu')).rejects.toBeDefined();
    device.lie = {};
    await world.admin.releaseQuarantine('edu');
    await (await world.acquire()).close();
  });

  test('one that is another device now is leased to nobody', async () => {
    device.lie = { [eduRegister.IDENTIFICATION]: 0xffffffff };
    const refused = { code: 'DRIVER_FAILED' };
    await expect(world.client.acquire({ memoryBytes: 4096 })).rejects.toMatchObject(refused);
    device.lie = {};
    await (await world.acquire()).close();
  });
});

describe('a driver that does not fit', { timeout: patienceMs }, () => {
  const bench = new Bench();
  afterAll(() => bench.clear(), patienceMs);

  test.each([
    [[], /no built-in driver \(mqdma, edu\) fits/],
    [['--driver', 'edu'], /driver edu does not fit/],
  ])('%j is refused for a counter', async (words, stderr) => {
    const path = join(bench.directory, 'counter');
    const device = bench.start(['device', 'serve', 'counter', '--listen', path, '--json']);
    await device.saying(/\n/);
    const end = await bench.run(['serve', '--function', `vfio-user:${path}`, ...words]);
    expect(end.stderr).toMatch(stderr);
    expect(end.status).not.toBe(0);
    await device.stop();
  });

  test('and so is an isolation that EDU does not have', async () => {
    const end = await bench.run(['serve', '--driver', 'edu', '--isolation', 'pasid']);
    expect(end.stderr).toMatch(/edu options: isolation is exclusive/);
    expect(end.status).not.toBe(0);
  });
});
