import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isLessorError, isOsError, isProtocolError } from '../base/errors.js';
import { systemClock } from '../os/clock.js';
import { closeAll, type Fd } from '../os/fd.js';
import { connectVfioUser, type VfioUserClient } from './client.js';
import { serveVfioUser } from './server.js';
import { TestEndpoint, testRegions } from './testing/endpoint.js';
import { PipeSocket } from './testing/pipe.js';
import { turns, until, type World, worlds } from './testing/world.js';
import type { Capabilities } from './version.js';

describe.each(worlds)('client and server %s', (_name, createWorld) => {
  let world: World;
  let endpoint: TestEndpoint;
  let client: VfioUserClient;

  async function connect(server: Partial<Capabilities> = {}): Promise<void> {
    world = createWorld();
    endpoint = new TestEndpoint(world);
    const [near, far] = world.pair();
    serveVfioUser(far, endpoint, { clock: systemClock, capabilities: server });
    client = await connectVfioUser(near, { clock: systemClock });
  }

  beforeEach(() => connect());

  afterEach(async () => {
    client.close();
    await until(() => endpoint.closedCount === 1 && world.left().length === 0, 'no leak');
  });

  function files(count: number): Fd[] {
    return Array.from({ length: count }, (_, index) => world.open(`file${index}`));
  }

  it('describe the device', async () => {
    expect(client.peer).toMatchObject({ maxMsgFds: 16, maxDataXferBytes: 1_048_576 });
    const info = { regionCount: 9, irqCount: 5, flags: 3, resettable: true };
    expect(await client.deviceInfo()).toEqual(info);
    expect(await client.irqInfo(2)).toEqual({ count: 24, flags: 9 });
    const region = await client.regionInfo(0);
    expect(region).toMatchObject({
      index: 0,
      lengthBytes: 0x8000,
      flags: 0xf,
      readable: true,
      writable: true,
      areas: testRegions[0]?.areas,
      fdOffsetBytes: 0x10000,
    });
    expect(region.fd && world.nameOf(region.fd)).toBe('region0');
    region.fd?.close();
    const readOnly = { lengthBytes: 0x1000, readable: true, writable: false, areas: [] };
    expect(await client.regionInfo(1)).toMatchObject({ ...readOnly, fd: undefined });
    expect(await client.regionInfo(3)).toMatchObject({ lengthBytes: 0, flags: 0 });
  });

  it('ask again for a long list of areas', async () => {
    const areas = Array.from({ length: 200 }, (_, index) => ({
      offsetBytes: index * 0x2000,
      lengthBytes: 0x1000,
    }));
    endpoint.regions = [{ lengthBytes: 0x40_0000, flags: 3, areas }];
    const info = await client.regionInfo(0);
    expect(info.areas).toEqual(areas);
    expect(info.fd?.isOpen).toBe(true);
    info.fd?.close();
  });

  it('access registers of every width', async () => {
    await client.write8(0, 1, 0x1ff);
    await client.write16(0, 2, 0x2345);
    await client.write32(0, 4, 0xdeadbeef);
    await client.write64(0, 8, 0xfedcba9876543210n);
    expect(endpoint.calls).toEqual(['write 0 1 1', 'write 0 2 2', 'write 0 4 4', 'write 0 8 8']);
    expect(await client.read8(0, 1)).toBe(0xff);
    expect(await client.read16(0, 2)).toBe(0x2345);
    expect(await client.read32(0, 4)).toBe(0xdeadbeef);
    expect(await client.read64(0, 8)).toBe(0xfedcba9876543210n);
    expect(await client.read64(0, 0)).toBe(0xdeadbeef2345ff00n);
    await client.write64(0, 8, -2n);
    expect(await client.read64(0, 8)).toBe(0xfffffffffffffffen);
  });

  it('post writes in order with what follows', async () => {
    client.regionWritePosted(0, 0, Uint8Array.of(1, 2, 3, 4));
    client.regionWritePosted(1, 0, Uint8Array.of(1));
    expect(await client.read32(0, 0)).toBe(0x04030201);
    expect(endpoint.calls).toEqual(['write 0 0 4 posted', 'read 0 0 4']);
    expect(() => client.regionWritePosted(2, 0, new Uint8Array(1_048_577))).toThrow();
  });

  it('move any number of bytes, in as many messages as it takes', async () => {
    const data = new Uint8Array(2_500_000).map((_, index) => (index * 7) >> 3);
    await client.regionWrite(2, 5, data);
    expect(endpoint.calls).toEqual([
      'write 2 5 1048576',
      'write 2 1048581 1048576',
      'write 2 2097157 402848',
    ]);
    expect(Buffer.compare(await client.regionRead(2, 5, data.length), data)).toBe(0);
    expect(await client.regionRead(2, 0, 0)).toHaveLength(0);
  });

  it('keep to the data that the server takes', async () => {
    client.close();
    await until(() => world.left().length === 0, 'closed');
    await connect({ maxDataXferBytes: 1000 });
    await client.regionWrite(2, 0, new Uint8Array(2001));
    await client.regionRead(2, 0, 1000);
    const calls = ['write 2 0 1000', 'write 2 1000 1000', 'write 2 2000 1', 'read 2 0 1000'];
    expect(endpoint.calls).toEqual(calls);
  });

  it('map and unmap memory', async () => {
    const range = { iova: 0x1000n, lengthBytes: 0x2000n };
    const request = { ...range, offsetBytes: 0n, readable: true, writable: false };
    await client.dmaMap({ ...request, fd: world.open('memory') });
    await client.dmaMap({ ...request, writable: true });
    await client.dmaUnmap(range);
    await client.dmaUnmap('all');
    expect(endpoint.calls).toEqual([
      'map 4096 8192 0 r- memory',
      'map 4096 8192 0 rw none',
      'unmap 4096 8192',
      'unmap all',
    ]);
  });

  it('bind more eventfds than fit in one message, and drive interrupts', async () => {
    await client.setIrqs({ action: 'bind', index: 2, start: 1, fds: files(20) });
    await client.setIrqs({ action: 'unbind', index: 2, start: 0, count: 3 });
    await client.setIrqs({ action: 'disable', index: 2 });
    await client.setIrqs({ action: 'trigger', index: 2, vectors: [5, 3] });
    await client.setIrqs({ action: 'mask', index: 2, vectors: [3, 4, 5] });
    await client.setIrqs({ action: 'unmask', index: 2, vectors: [3, 3, 5] });
    await client.setIrqs({ action: 'unmask', index: 2, vectors: [] });
    const names = Array.from({ length: 20 }, (_, index) => `file${index}`);
    expect(endpoint.calls).toEqual([
      `bind 2 1 ${names.slice(0, 16).join(',')}`,
      `bind 2 17 ${names.slice(16).join(',')}`,
      'unbind 2 0 3',
      'disable 2',
      'trigger 2 3,5',
      'mask 2 3,4,5',
      'unmask 2 3,5',
    ]);
  });

  it('split a bind at what the server takes, and close the rest when it fails', async () => {
    client.close();
    await until(() => world.left().length === 0, 'closed');
    await connect({ maxMsgFds: 2 });
    endpoint.before = (call) => {
      if (!call.startsWith('bind 2 2')) return;
      closeAll(endpoint.held.splice(2));
      throw Object.assign(new Error('full'), { name: 'OsError', errno: 'ENOSPC' });
    };
    const bound = client.setIrqs({ action: 'bind', index: 2, start: 0, fds: files(7) });
    await expect(bound).rejects.toMatchObject({ errno: 'ENOSPC' });
    expect(endpoint.calls).toEqual(['bind 2 0 file0,file1', 'bind 2 2 file2,file3']);
    const left = world.left().filter((name) => name.startsWith('file'));
    expect(left.sort()).toEqual(['file0', 'file1']);
  });

  it('send no descriptor to a server that takes none, and close it', async () => {
    client.close();
    await until(() => world.left().length === 0, 'closed');
    await connect({ maxMsgFds: 0 });
    const range = { iova: 0n, lengthBytes: 0x1000n, offsetBytes: 0n };
    const mapped = client.dmaMap({ ...range, readable: true, writable: true, fd: world.open('m') });
    await expect(mapped).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    const bound = client.setIrqs({ action: 'bind', index: 2, start: 0, fds: files(2) });
    await expect(bound).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    expect(endpoint.calls).toEqual([]);
    expect(world.left().filter((name) => !name.startsWith('socket'))).toEqual([]);
  });

  it('reset', async () => {
    await client.reset();
    await client.reset(60_000);
    expect(endpoint.calls).toEqual(['reset', 'reset']);
  });

  it('pass the errno on', async () => {
    const errors = [
      [client.regionInfo(9), 'EINVAL'],
      [client.irqInfo(9), 'EINVAL'],
      [client.read32(0, 0x7ffe), 'EINVAL'],
      [client.write32(1, 0, 1), 'EPERM'],
      [client.regionRead(3, 0, 1), 'EINVAL'],
    ] as const;
    for (const [promise, errno] of errors) {
      const error = await promise.catch((thrown: unknown) => thrown);
      expect(isOsError(error, errno)).toBe(true);
    }
    expect(client.isOpen).toBe(true);
  });

  it.each([
    ['a region of -1', () => client.read32(-1, 0)],
    ['a region of 2^32', () => client.regionRead(2 ** 32, 0, 4)],
    ['a negative offset', () => client.write32(0, -4, 0)],
    ['an offset of 2^53', () => client.read8(0, 2 ** 53)],
    ['a length of -1', () => client.regionRead(0, 0, -1)],
    ['an index of 0.5', () => client.regionInfo(0.5)],
    ['an interrupt index of -1', () => client.irqInfo(-1)],
    ['an IOVA of 2^64', () => client.dmaUnmap({ iova: 1n << 64n, lengthBytes: 1n })],
    [
      'vectors far apart',
      () => client.setIrqs({ action: 'trigger', index: 2, vectors: [0, 2048] }),
    ],
    ['a negative vector', () => client.setIrqs({ action: 'mask', index: 2, vectors: [-1] })],
    ['an empty bind', () => client.setIrqs({ action: 'bind', index: 2, start: 0, fds: [] })],
    [
      'a bind past the last vector',
      () => client.setIrqs({ action: 'bind', index: 2, start: 2047, fds: files(2) }),
    ],
    [
      'a negative IOVA',
      () =>
        client.dmaMap({
          iova: -1n,
          lengthBytes: 1n,
          offsetBytes: 0n,
          readable: true,
          writable: true,
          fd: world.open('memory'),
        }),
    ],
  ])('refuse %s on our side', async (_what, call) => {
    const error = await call().catch((thrown: unknown) => thrown);
    expect(isLessorError(error, 'INVALID_ARGUMENT')).toBe(true);
    expect(endpoint.calls).toEqual([]);
  });

  it('keep many requests in flight, answered in order', async () => {
    let slow = 0;
    endpoint.before = () => (slow++ % 3 === 0 ? turns(1) : undefined);
    endpoint.memory[0]?.forEach((_, index, memory) => {
      memory[index] = index;
    });
    const reads = Array.from({ length: 300 }, (_, index) => client.read8(0, index));
    const values = await Promise.all(reads);
    expect(values).toEqual(Array.from({ length: 300 }, (_, index) => index & 0xff));
  });

  it('end together', async () => {
    const ends: (Error | undefined)[] = [];
    client.onClosed((error) => ends.push(error));
    endpoint.before = () => new Promise(() => {});
    const waiting = client.read32(0, 0).catch((thrown: unknown) => thrown);
    await until(() => endpoint.calls.length === 1, 'asked');
    client.close();
    expect(isOsError(await waiting, 'ECANCELED')).toBe(true);
    expect(isOsError(await client.reset().catch((e: unknown) => e), 'EPIPE')).toBe(true);
    const map = { iova: 0n, lengthBytes: 1n, offsetBytes: 0n, readable: true, writable: true };
    const late = client.dmaMap({ ...map, fd: world.open('late') });
    expect(isOsError(await late.catch((e: unknown) => e), 'EPIPE')).toBe(true);
    expect(ends).toEqual([]);
  });

  it('end with the scope of a client', async () => {
    client[Symbol.dispose]();
    expect(client.isOpen).toBe(false);
    await until(() => endpoint.closedCount === 1, 'the server is told');
  });

  it('tell the client when the server closes', async () => {
    const [near, far] = world.pair();
    const second = new TestEndpoint(world);
    const connection = serveVfioUser(far, second, { clock: systemClock });
    const ended = await connectVfioUser(near, { clock: systemClock });
    let closed = 0;
    ended.onClosed((error) => {
      expect(error).toBeUndefined();
      closed++;
    });
    second.before = () => new Promise(() => {});
    const waiting = ended.read32(0, 0).catch((thrown: unknown) => thrown);
    await until(() => second.calls.length === 1, 'asked');
    connection.close();
    await until(() => closed === 1, 'told');
    expect(isOsError(await waiting, 'EPIPE')).toBe(true);
    expect(ended.isOpen).toBe(false);
    expect(isProtocolError(await waiting)).toBe(false);
  });

  it('cost one send and one read at either end', async () => {
    const [near, far] = world.pair();
    if (!(near instanceof PipeSocket) || !(far instanceof PipeSocket)) {
      near[Symbol.dispose]();
      far[Symbol.dispose]();
      return;
    }
    const second = new TestEndpoint(world);
    serveVfioUser(far, second, { clock: systemClock });
    const counted = await connectVfioUser(near, { clock: systemClock });
    const before = [near.sendCount, near.readCount, far.sendCount, far.readCount];
    await counted.read32(0, 0);
    const after = [near.sendCount, near.readCount, far.sendCount, far.readCount];
    expect(after.map((count, index) => count - (before[index] ?? 0))).toEqual([1, 1, 1, 1]);
    counted.close();
    await until(() => second.closedCount === 1, 'closed');
  });
});
