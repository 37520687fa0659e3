// What a client does to the memory that it shares: its windows and its own. It harms itself alone.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Client } from '../src/client/client.js';
import { Queue } from '../src/client/mqdma/index.js';
import { queuePage } from '../src/device/mqdma/datasheet.js';
import type { Fd } from '../src/os/fd.js';
import {
  F_SEAL_FUTURE_WRITE,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
} from '../src/os/memory-types.js';
import type { VfioUserClient } from '../src/vfio-user/client.js';
import { type BrokerFixture, eventually } from './support/broker-fixture.js';
import type { Bystander } from './support/bystander.js';
import { deviceOf, os, type RawLease, takeRawLease } from './support/raw-lease.js';
import { finishStanding, startStanding } from './support/standing-broker.js';
import { fillTagged } from './support/tagged-fill.js';

const allOnes = 0xffff_ffff;
/** Regions of the lease's device. */
const statusRegion = 0;
const queueRegion = 2;
const configRegion = 7;
const command = 4;
const memoryAndMaster = Uint8Array.of(6, 0);

let broker: BrokerFixture;
let bystander: Bystander;
let client: Client;

beforeAll(async () => {
  ({ broker, bystander, client } = await startStanding({
    switches: { allowUnsealedMemory: true },
  }));
});

afterAll(async () => {
  await finishStanding({ broker, bystander, client });
});

interface Raw extends AsyncDisposable {
  readonly lease: RawLease;
  readonly device: VfioUserClient;
}

async function open(): Promise<Raw> {
  const lease = await takeRawLease(broker.socketPath);
  const device = await deviceOf(lease);
  return {
    lease,
    device,
    async [Symbol.asyncDispose]() {
      device.close();
      lease[Symbol.dispose]();
      await broker.endOf(lease.id);
    },
  };
}

async function windowOf(device: VfioUserClient, region: number): Promise<Fd> {
  const { fd } = await device.regionInfo(region);
  expect(fd).toBeDefined();
  return fd as Fd;
}

const enable = (device: VfioUserClient): Promise<void> =>
  device.regionWrite(configRegion, command, memoryAndMaster);

describe('a window', () => {
  test('truncated before enable refuses it, and ends the lease', async () => {
    await using raw = await open();
    using fd = await windowOf(raw.device, queueRegion);
    os.memory.truncate(fd, 0);
    await expect(enable(raw.device)).rejects.toMatchObject({ errno: 'EPERM' });
    expect(await broker.endOf(raw.lease.id)).toMatch(/^broken: .*window/);
  });

  test('truncated in use ends the lease', async () => {
    await using raw = await open();
    using fd = await windowOf(raw.device, queueRegion);
    await enable(raw.device);
    os.memory.truncate(fd, 0);
    // The device looks when it is woken; and whoever reads by message finds ones.
    raw.device.regionWritePosted(queueRegion, queuePage.KICK, new Uint8Array(4));
    expect(await broker.endOf(raw.lease.id)).toBe('broken: a window was truncated by its holder');
  });

  test.each([
    ['against shrinking', F_SEAL_SHRINK | F_SEAL_SEAL],
    ['against more seals', F_SEAL_SEAL],
  ])('sealed %s refuses enable, and ends the lease', async (_, seals) => {
    await using raw = await open();
    using fd = await windowOf(raw.device, queueRegion);
    os.memory.addSeals(fd, seals);
    await expect(enable(raw.device)).rejects.toMatchObject({ errno: 'EPERM' });
    expect(await broker.endOf(raw.lease.id)).toMatch(/^broken: .*seals/);
  });

  test('sealed just as the broker would have works', async () => {
    await using raw = await open();
    using fd = await windowOf(raw.device, queueRegion);
    os.memory.addSeals(fd, F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
    await enable(raw.device);
    expect(await raw.device.read32(statusRegion, 0)).toBe(0);
  });

  test('that is read-only takes no store by any way', async () => {
    await using raw = await open();
    using fd = await windowOf(raw.device, statusRegion);
    expect(() => os.memory.truncate(fd, 0)).toThrow(/EINVAL|EPERM|EBADF/);
    const spec = { offsetBytes: 0, lengthBytes: 4096, writable: true };
    expect(() => os.memory.map(fd, spec)).toThrow(/EACCES|EPERM/);
    await enable(raw.device);
    await expect(raw.device.write32(statusRegion, 0, 1)).rejects.toMatchObject({ errno: 'EPERM' });
    expect(await raw.device.read32(statusRegion, 0)).toBe(0);
  });

  test('of a lease that ended is inert, whoever has its slice now', async () => {
    const raw = await open();
    using fd = await windowOf(raw.device, queueRegion);
    using status = await windowOf(raw.device, statusRegion);
    const guarded = { offsetBytes: 0, lengthBytes: 4096, guard: 'ones' } as const;
    using before = os.memory.map(fd, { ...guarded, writable: true });
    await enable(raw.device);
    const words = new Uint32Array(before.buffer);
    words[16] = 0x1234;
    const { id, record } = raw.lease;
    await broker.admin.revoke(id);
    await broker.endOf(id);
    expect(words[16]).toBe(allOnes);
    using later = os.memory.map(status, { ...guarded, writable: false });
    expect(new Uint32Array(later.buffer)[0]).toBe(allOnes);
    for (const attempt of [
      raw.device.read32(queueRegion, 0),
      raw.device.write32(queueRegion, queuePage.TAIL, 1),
      raw.device.reset(),
      enable(raw.device),
    ]) {
      await expect(attempt).rejects.toMatchObject({ errno: 'ENODEV' });
    }
    const next = await client.acquire({ memoryBytes: 1024 * 1024, slice: record.slice });
    const queue = await Queue.create(next, { entries: 4 });
    words.fill(0xdead);
    await queue.nop();
    expect(next.mappedWindow('queue').u32[16]).not.toBe(0xdead);
    await next.close();
    await raw[Symbol.asyncDispose]();
  });
});

describe('register access by message', () => {
  test('is refused before enable', async () => {
    await using raw = await open();
    const early = { errno: 'EAGAIN' };
    await expect(raw.device.read32(queueRegion, 0)).rejects.toMatchObject(early);
    await expect(raw.device.write32(queueRegion, 0x40, 1)).rejects.toMatchObject(early);
    await enable(raw.device);
    expect(await raw.device.read32(queueRegion, 0x40)).toBe(0);
  });

  test('reads ones and drops writes while memory space is off, and goes on after', async () => {
    await using raw = await open();
    await enable(raw.device);
    await raw.device.write32(queueRegion, 0x80, 5);
    await raw.device.regionWrite(configRegion, command, Uint8Array.of(0, 0));
    expect(await raw.device.read32(queueRegion, 0x80)).toBe(allOnes);
    await raw.device.write32(queueRegion, 0x80, 6);
    await enable(raw.device);
    expect(await raw.device.read32(queueRegion, 0x80)).toBe(5);
  });

  test('outside of windows reads ones and drops writes; past the end it is refused', async () => {
    await using raw = await open();
    await enable(raw.device);
    const { lengthBytes } = await raw.device.regionInfo(5);
    expect(await raw.device.read32(5, 0x800)).toBe(allOnes);
    await raw.device.write32(5, 0x800, 1);
    expect(await raw.device.read32(5, 0x800)).toBe(allOnes);
    expect(await raw.device.read32(5, 0)).toBe(0);
    const invalid = { errno: 'EINVAL' };
    await expect(raw.device.read32(5, Number(lengthBytes))).rejects.toMatchObject(invalid);
    await expect(raw.device.read32(queueRegion, 4096)).rejects.toMatchObject(invalid);
    await expect(raw.device.read32(queueRegion, 2)).rejects.toMatchObject(invalid);
    await expect(raw.device.read32(4, 0)).rejects.toMatchObject(invalid);
  });

  test('is all that a lease by message has', async () => {
    const lease = await client.acquire({ memoryBytes: 65_536, revocation: 'mediated' });
    expect(() => lease.mappedWindow('queue')).toThrow(
      expect.objectContaining({ code: 'WINDOW_MESSAGE_ONLY', errno: 'EOPNOTSUPP' }),
    );
    await lease.close();
  });
});

describe('memory of a client', () => {
  test('that vanishes under the device ends the lease of its client', async () => {
    const lease = await client.acquire({ memoryBytes: 4 * 1024 * 1024 });
    const queue = await Queue.create(lease, { entries: 4 });
    using fd = os.memory.create('lessor-test', 65_536);
    const { iova } = await lease.map({ fd, lengthBytes: 65_536 });
    await queue.fill({ destination: iova, lengthBytes: 4096, pattern: 1n });
    os.memory.truncate(fd, 0);
    await expect(
      queue.copy({ source: iova, destination: iova + 8192, lengthBytes: 4096 }),
    ).rejects.toBeDefined();
    expect((await lease.ended).reason).toMatch(/^broken: memory behind iova .* was truncated$/);
    await lease.close();
  });

  test('does not translate for the next client of the slice', async () => {
    const old = await client.acquire({ memoryBytes: 4 * 1024 * 1024, slice: 'queue6' });
    const data = await old.memory.allocate(2 * 1024 * 1024);
    data.u8.fill(7);
    const { iova } = data;
    await old.close();
    const next = await client.acquire({ memoryBytes: 4 * 1024 * 1024, slice: 'queue6' });
    expect(next.record.iovaBase).toBe(old.record.iovaBase);
    const queue = await Queue.create(next, { entries: 4 });
    const mine = await next.memory.allocate(4096);
    const source = iova + 1024 * 1024;
    await expect(
      queue.copy({ source, destination: mine.iova, lengthBytes: 64 }),
    ).rejects.toMatchObject({
      code: 'DEVICE_FAULT',
      message: expect.stringContaining('not mapped'),
    });
    expect(mine.u8.every((byte) => byte === 0)).toBe(true);
    await next.close();
    await data[Symbol.asyncDispose]();
  });

  test('of another is not reached with its PASID written into a descriptor', async () => {
    const lease = await client.acquire({ memoryBytes: 1024 * 1024 });
    const { pasid = 0 } = lease.record;
    const other = (await client.leases()).find(({ id }) => id === bystander.taken.id)?.pasid ?? 0;
    expect([pasid, other].every((value) => value > 0) && pasid !== other).toBe(true);
    expect(await fillTagged(lease, pasid)).toBe('done');
    expect(await fillTagged(lease, other)).toBe('DEVICE_FAULT 0');
    await eventually('the fault is told', () =>
      broker.events.some(({ type, lease: id }) => type === 'fault' && id === lease.record.id),
    );
    await lease.close();
  });
});
