// Leases that a VM monitor takes over a socket of its acquirer's: what it sees, and every end.
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Client } from '../src/client/client.js';
import type { ListeningLease } from '../src/client/listening-lease.js';
import { Queue } from '../src/client/mqdma/index.js';
import { openLease } from '../src/client/open-lease.js';
import type { Fd } from '../src/os/fd.js';
import { type BrokerFixture, eventually, pause } from './support/broker-fixture.js';
import type { Bystander } from './support/bystander.js';
import { ram, ramBytes, rawListen } from './support/raw-listen.js';
import { finishStanding, ListenFolder, startStanding } from './support/standing-broker.js';
import {
  configRegion,
  guestMemory,
  MiB,
  monitorOs,
  msixIndex,
  VmMonitor,
} from './support/vm-monitor.js';
import { VmProcess } from './support/vm-process.js';

const folder = new ListenFolder();
let broker: BrokerFixture;
let bystander: Bystander;
let client: Client;
const listen = (request?: object): Promise<ListeningLease> => folder.acquire(client, request);

beforeAll(async () => {
  ({ broker, bystander, client } = await startStanding({ deadlines: { listenNegotiateMs: 300 } }));
});

afterAll(async () => {
  await finishStanding({ broker, bystander, client });
  folder[Symbol.dispose]();
});

describe('what a VM monitor finds', () => {
  test('is a PCI device with BARs, capabilities and vectors of their sizes', async () => {
    await using lease = await listen();
    using monitor = await VmMonitor.connect(lease.path);
    const { config, irqCounts, romBytes } = await monitor.realize();
    expect([...config.subarray(0, 4)]).toEqual([0x34, 0x12, 0x71, 0x6d]);
    expect(romBytes).toBe(0);
    expect(irqCounts).toEqual([0, 0, 1, 1, 1]);
    const shown = monitor.bars.map(({ index, lengthBytes, info, mappings }) => ({
      index,
      sized: lengthBytes === info.lengthBytes,
      mapped: mappings.map((mapping) => mapping.lengthBytes),
    }));
    expect(shown).toEqual([
      { index: 0, sized: true, mapped: [] },
      { index: 2, sized: true, mapped: [4096] },
      { index: 5, sized: true, mapped: [] },
    ]);
    expect(lease.record).toMatchObject({
      isolation: 'pasid',
      revocation: 'orphan',
      iovaBase: 0,
      iovaBytes: 2 ** 48,
    });
  });

  test('takes the memory of a guest, from address 0 on, and huge ranges to unmap', async () => {
    await using lease = await listen();
    using monitor = await VmMonitor.connect(lease.path);
    await monitor.realize();
    using memory = guestMemory(ramBytes);
    const mapped = async (): Promise<number> =>
      (await client.leases()).find(({ id }) => id === lease.record.id)?.mappedBytes ?? -1;
    const bytes = ram.reduce((sum, piece) => sum + piece.lengthBytes, 0);
    await monitor.mapMemory(memory, ram);
    expect(await mapped()).toBe(bytes);
    // What QEMU has no descriptor for: a ROM, video memory.
    const other = { iova: 0xfd00_0000n, lengthBytes: 0x100_0000n, offsetBytes: 0n };
    await monitor.device.dmaMap({ ...other, readable: true, writable: false });
    // Ranges that cover nothing, and one that ends where numbers end.
    await monitor.device.dmaUnmap({ iova: 2n ** 40n, lengthBytes: 2n ** 40n });
    await monitor.device.dmaUnmap({ iova: 0xfef0_0000n, lengthBytes: 0xffff_ffff_0110_0000n });
    expect(await mapped()).toBe(bytes + 0x100_0000);
    await expect(
      monitor.device.dmaUnmap({ iova: 0x1000n, lengthBytes: 0x1000n }),
    ).rejects.toMatchObject({ errno: 'ENOENT' });
    await monitor.device.dmaUnmap({ iova: 0n, lengthBytes: 2n ** 32n });
    expect(await mapped()).toBe(0);
    // The same again, with the device on.
    await monitor.command(6);
    await monitor.mapMemory(memory, ram);
    await monitor.device.dmaUnmap('all');
    expect(await mapped()).toBe(0);
  });

  test('is turned on and off as a guest likes, and works after each reset', async () => {
    await using lease = await listen();
    using monitor = await VmMonitor.connect(lease.path);
    await monitor.realize();
    using memory = guestMemory(ramBytes);
    await monitor.mapMemory(memory, ram);
    for (const value of [0, 2, 0, 6, 4, 6, 0x507]) {
      expect(await monitor.command(value)).toBe(value & 6);
    }
    for (let boot = 0; boot < 3; boot += 1) {
      await monitor.command(6);
      await monitor.device.write32(2, 0x04, 16 + boot);
      expect(await monitor.device.read32(2, 0x04)).toBe(16 + boot);
      const [queue] = monitor.bar(2).mappings;
      expect(new Uint32Array(queue?.buffer as ArrayBuffer)[1]).toBe(16 + boot);
      await monitor.command(0);
      expect(await monitor.device.read32(2, 0x04)).toBe(0xffff_ffff);
      await monitor.device.reset();
      await monitor.command(2);
      expect(await monitor.device.read32(2, 0x04)).toBe(0);
    }
  });

  test('binds eventfds in pieces, and unbinds what was never bound', async () => {
    await using lease = await listen();
    using monitor = await VmMonitor.connect(lease.path);
    await monitor.realize();
    const { device } = monitor;
    const fds = (count: number): Fd[] =>
      Array.from({ length: count }, () => monitorOs.events.createEventFd());
    const index = msixIndex;
    await device.setIrqs({ action: 'unbind', index, start: 0, count: 1 });
    for (const moment of ['before', 'after']) {
      if (moment === 'after') await monitor.command(6);
      await device.setIrqs({ action: 'bind', index, start: 0, fds: fds(1) });
      await device.setIrqs({ action: 'bind', index, start: 0, fds: fds(1) });
      await device.setIrqs({ action: 'unbind', index, start: 0, count: 1 });
      await device.setIrqs({ action: 'disable', index });
      await device.setIrqs({ action: 'disable', index });
    }
    await device.setIrqs({ action: 'bind', index: 4, start: 0, fds: fds(1) });
  });

  test('moves memory of the guest, and hears a doorbell that nobody told of', async () => {
    await using lease = await listen();
    const socket = monitorOs.sockets.connect(lease.path);
    const fd = socket.fd.duplicate();
    socket[Symbol.dispose]();
    await using guest = await openLease(monitorOs, lease.record, fd, undefined, true);
    using memory = guestMemory(ramBytes);
    const mapping = monitorOs.memory.map(memory, {
      offsetBytes: 0,
      lengthBytes: ramBytes,
      writable: true,
    });
    await guest.map({ fd: memory, iova: 0, lengthBytes: ramBytes });
    const queue = await Queue.create(guest, { entries: 16 });
    const bytes = new Uint8Array(mapping.buffer);
    for (let round = 1; round <= 3; round += 1) {
      bytes.fill(round, 0, 4096);
      await queue.copy({ source: 0, destination: 8 * MiB, lengthBytes: 4096 });
      expect(bytes.subarray(8 * MiB, 8 * MiB + 4096).every((byte) => byte === round)).toBe(true);
      // Long enough for the device to fall asleep.
      await pause(20);
    }
    // As a guest does it: the tail in its mapped page, and no message.
    const page = guest.mappedWindow('queue');
    bytes.fill(0x77, 0, 4096);
    queue.submitCopy(0, 9 * MiB, 4096);
    page.u32[0x40 / 4] = queue.outstanding + (page.u32[0x40 / 4] ?? 0);
    await eventually('the copy', () => bytes[9 * MiB + 4095] === 0x77);
    mapping[Symbol.dispose]();
  });
});

describe('memory without a seal', () => {
  test('is refused unless allowed, and the acquirer is told why', async () => {
    await using lease = await listen();
    const refused: string[] = [];
    lease.on('refused', ({ reason }) => refused.push(reason));
    using monitor = await VmMonitor.connect(lease.path);
    await monitor.realize();
    using memory = guestMemory(ramBytes, false);
    for (let round = 0; round < 2; round += 1) {
      await expect(monitor.mapMemory(memory, ram.slice(0, 1))).rejects.toMatchObject({
        errno: 'EPERM',
      });
    }
    await eventually('the word of it', () => refused.length > 0);
    expect(refused).toEqual([expect.stringContaining('--allow-unsealed-memory')]);
  });
});

describe('the one connection', () => {
  test('is the first that negotiates; after it nobody is taken', async () => {
    await using lease = await listen();
    // Somebody who looks whether anybody listens, and one who says nothing.
    monitorOs.sockets.connect(lease.path)[Symbol.dispose]();
    using silent = monitorOs.sockets.connect(lease.path);
    expect(lease.isConnected).toBe(false);
    const connected = new Promise((resolve) => lease.once('connected', resolve));
    using monitor = await VmMonitor.connect(lease.path);
    expect(await connected).toEqual({ pid: process.pid });
    expect(() => monitorOs.sockets.connect(lease.path)).toThrow('ECONNREFUSED');
    await monitor.realize();
    expect(silent.isOpen).toBe(true);
    expect(broker.events.filter(({ type }) => type === 'connected').length).toBeGreaterThan(0);
  });

  test('ends the lease with its end, whoever else is there', async () => {
    const lease = await listen();
    const { path } = lease;
    const monitor = await VmMonitor.connect(path);
    await monitor.realize();
    await monitor.command(6);
    monitor[Symbol.dispose]();
    expect(await lease.ended).toEqual({
      reason: 'the VM monitor closed its connection',
      released: true,
    });
    expect(existsSync(path)).toBe(false);
  });

  test('is not stolen by the client that listens, however often it tries', async () => {
    const path = folder.freePath();
    const bound = monitorOs.sockets.bind(path, 0o600, 8);
    const helpers = monitorOs.createHelpers();
    const own = bound.fd.duplicate();
    const raw = await rawListen(broker.socketPath, bound.fd.duplicate());
    for (let round = 0; round < 10; round += 1) {
      using wanted = monitorOs.sockets.connect(path);
      const stolen = await helpers.accept(own, { uid: 1, deadlineMs: 100 }).catch(() => undefined);
      stolen?.[Symbol.dispose]();
      wanted.pause();
    }
    using monitor = await VmMonitor.connect(path);
    expect((await monitor.device.deviceInfo()).regionCount).toBe(9);
    own.close();
    raw.close();
    bound[Symbol.dispose]();
    await helpers[Symbol.asyncDispose]();
    await broker.endOf(raw.id);
  });
});

describe('a revoked lease', () => {
  test('answers ENODEV for as long as its monitor asks, and is over when it goes', async () => {
    const lease = await listen();
    const { id } = lease.record;
    using monitor = await VmMonitor.connect(lease.path);
    await monitor.realize();
    using memory = guestMemory(ramBytes);
    await monitor.mapMemory(memory, ram);
    await monitor.command(6);
    await broker.admin.revoke(id, { reason: 'test' });
    expect(await lease.ended).toEqual({ reason: 'revoked: operator: test', released: false });
    const { device } = monitor;
    // Longer than other endpoints linger.
    for (let round = 0; round < 2; round += 1) {
      const asked = [
        device.regionRead(configRegion, 0, 4),
        device.read32(2, 0),
        device.write32(2, 0, 0),
        device.dmaUnmap('all'),
        device.reset(),
        device.irqInfo(0),
        device.deviceInfo(),
        monitor.mapMemory(memory, ram.slice(0, 1)),
      ];
      for (const answer of asked) await expect(answer).rejects.toMatchObject({ errno: 'ENODEV' });
      device.regionWritePosted(2, 0x4c, new Uint8Array(4));
      await pause(400);
    }
    const phases = broker.events.filter(({ lease: of, type }) => of === id && type === 'phase');
    expect(phases.find(({ phase }) => phase === 'zap')?.outcome).toBe('orphan');
    // Its slice is another's long ago.
    await using next = await client.acquire({ slice: lease.record.slice, memoryBytes: 4096 });
    expect(next.record.slice).toBe(lease.record.slice);
    const [queue] = monitor.bar(2).mappings;
    new Uint32Array(queue?.buffer as ArrayBuffer).fill(0x5555);
    expect(next.mappedWindow('queue').u32[1023]).toBe(0);
    expect(await next.window('status').read32(0)).toBe(0);
  });

  test('leaves a guest that goes on storing alive; an ordinary lease does not', async () => {
    const lease = await listen();
    await using vm = new VmProcess({ path: lease.path });
    await vm.storesOn();
    await broker.admin.revoke(lease.record.id, {});
    await broker.endOf(lease.record.id);
    await vm.storesOn();
    await vm.storesOn();
    expect(vm).toMatchObject({ isFaithful: true, failed: undefined });
    const handover = await client.acquireForHandover({ memoryBytes: 4096, holder: 'fd' });
    await using plain = new VmProcess({ fd: handover.lease.number });
    handover.lease.close();
    await plain.storesOn();
    await broker.admin.revoke(handover.record.id, {});
    expect(await plain.exited).toBe('SIGBUS');
  });

  test.each(['nobody', 'somebody who says nothing'])('while %s is connected', async (who) => {
    const lease = await listen();
    const { path } = lease;
    using socket = who === 'nobody' ? undefined : monitorOs.sockets.connect(path);
    if (socket !== undefined) await pause(100);
    await broker.admin.revoke(lease.record.id, {});
    expect(await lease.ended).toMatchObject({ released: false });
    expect(existsSync(path)).toBe(false);
  });

  test('in its grace takes no new memory, and its monitor is asked to let go', async () => {
    const lease = await listen();
    using monitor = await VmMonitor.connect(lease.path);
    await monitor.realize();
    const request = monitorOs.events.createEventFd();
    const fds = [request.duplicate()];
    await monitor.device.setIrqs({ action: 'bind', index: 4, start: 0, fds });
    await monitor.command(6);
    using memory = guestMemory(ramBytes);
    await broker.admin.revoke(lease.record.id, { graceMs: 60_000 });
    expect(await eventually('the request', () => monitorOs.events.drain(request))).toBe(1n);
    await expect(monitor.mapMemory(memory, ram.slice(0, 1))).rejects.toMatchObject({
      errno: 'ENODEV',
    });
    expect(await monitor.device.read32(2, 0x04)).toBe(0);
    monitor[Symbol.dispose]();
    // Unplugged, as it was asked to.
    expect(await lease.ended).toMatchObject({ reason: expect.stringMatching(/^revoked/) });
    request.close();
  });
});
