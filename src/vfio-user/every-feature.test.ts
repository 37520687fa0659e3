// Our client drives every feature of our server, each command at least once.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isLessorError, isOsError } from '../base/errors.js';
import { systemClock } from '../os/clock.js';
import { closeAll, type Fd } from '../os/fd.js';
import {
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_SET,
} from '../uapi/vfio.js';
import { connectVfioUser, type VfioUserClient } from './client.js';
import { DmaTable } from './dma/table.js';
import { serveVfioUser } from './server.js';
import { deviceState, FullEndpoint, ownRegion } from './testing/full-endpoint.js';
import { until, type World, worlds } from './testing/world.js';
import type { Capabilities } from './version.js';

const range = { iova: 0x1000n, lengthBytes: 0x40000n };

describe.each(worlds)('our client on our server %s', (_name, createWorld) => {
  let world: World;
  let endpoint: FullEndpoint;
  let client: VfioUserClient;
  let dma: DmaTable;

  async function open(capabilities: Partial<Capabilities> = {}): Promise<void> {
    world = createWorld();
    endpoint = new FullEndpoint(world);
    dma = new DmaTable();
    const [near, far] = world.pair();
    const twinSocket = world.sockets;
    serveVfioUser(far, endpoint, { clock: systemClock, twinSocket, capabilities });
    client = await connectVfioUser(near, { clock: systemClock, twinSocket, dma });
  }

  async function close(): Promise<void> {
    client.close();
    await until(() => endpoint.closedCount === 1 && world.left().length === 0, 'no leak');
  }

  beforeEach(() => open());
  afterEach(close);

  const files = (count: number): Fd[] =>
    Array.from({ length: count }, (_, index) => world.open(`file${index}`));

  async function errorOf(promise: Promise<unknown>): Promise<unknown> {
    return promise.then(
      () => undefined,
      (error: unknown) => error,
    );
  }

  it('agrees on every capability', () => {
    expect(client.peer).toEqual({
      maxMsgFds: 16,
      maxDataXferBytes: 1_048_576,
      maxDmaMaps: 65_535,
      pageSizes: 4096n,
      writeMultiple: true,
      twinSocket: true,
      migration: { pageBytes: 4096, bitmapBytesMax: 1_048_576 },
    });
  });

  it('describes it, with a region of its own kind', async () => {
    expect(await client.deviceInfo()).toMatchObject({ regionCount: 10, irqCount: 5 });
    expect(await client.irqInfo(2)).toEqual({ count: 24, flags: 9 });
    const info = await client.regionInfo(9);
    expect(info).toMatchObject({ lengthBytes: 0x1000, areas: ownRegion.areas });
    expect(info.type).toEqual(ownRegion.type);
    expect((await client.regionInfo(1)).type).toBeUndefined();
    info.fd?.close();
    await client.write32(9, 4, 7);
    expect(await client.read32(9, 4)).toBe(7);
  });

  it('writes several registers in one message', async () => {
    const writes = [
      { region: 0, offsetBytes: 0, data: Uint8Array.of(1, 2, 3, 4) },
      { region: 9, offsetBytes: 8, data: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) },
    ];
    expect(await client.regionWriteMulti(writes)).toBe(2);
    client.regionWriteMultiPosted([{ region: 0, offsetBytes: 4, data: Uint8Array.of(9) }]);
    expect(await client.read64(9, 8)).toBe(0x0807060504030201n);
    expect(await client.read64(0, 0)).toBe(0x0904030201n);
    expect(endpoint.calls.slice(0, 3)).toEqual([
      'write 0 0 4',
      'write 9 8 8',
      'write 0 4 1 posted',
    ]);
    const data = Uint8Array.of(1);
    for (const bad of [
      [],
      [{ region: 0, offsetBytes: -1, data }],
      [{ region: 2 ** 32, offsetBytes: 0, data }],
      [{ region: 0, offsetBytes: 0, data: new Uint8Array(0) }],
      [{ region: 0, offsetBytes: 0, data: new Uint8Array(9) }],
      new Array<(typeof writes)[0]>(43_691).fill({ region: 0, offsetBytes: 0, data }),
    ]) {
      const error = await errorOf(client.regionWriteMulti(bad));
      expect(isLessorError(error, 'INVALID_ARGUMENT')).toBe(true);
    }
  });

  it('writes one by one where the server takes no more', async () => {
    await close();
    await open({ writeMultiple: false });
    const write = { region: 0, offsetBytes: 0, data: Uint8Array.of(1) };
    const error = await errorOf(client.regionWriteMulti([write]));
    expect(isLessorError(error, 'UNSUPPORTED')).toBe(true);
    expect(() => client.regionWriteMultiPosted([write])).toThrow(/one write at a time/);
  });

  it('gets descriptors that stand in for registers, each once', async () => {
    const entries = await client.regionIoFds(0);
    expect(entries.map(({ offsetBytes, kind, data }) => [offsetBytes, kind, data])).toEqual([
      [0n, 'ioeventfd', 0x1_0000_0000n],
      [4n, 'ioeventfd', 0x1_0000_0001n],
      [8n, 'ioregionfd', 0x1_0000_0002n],
    ]);
    const [one, two, three] = entries.map(({ fd }) => fd);
    expect(one).toBe(two);
    expect([one, three].map((fd) => fd && world.nameOf(fd))).toEqual(['bell', 'other']);
    closeAll(entries.flatMap(({ fd }) => (fd === undefined ? [] : [fd])));
    expect(await client.regionIoFds(1)).toEqual([]);
    endpoint.ioFdNames = new Array<string>(200).fill('bell');
    const many = await client.regionIoFds(0);
    expect(many).toHaveLength(200);
    many[0]?.fd?.close();
  });

  it('sets every kind of interrupt eventfd', async () => {
    const [a, b, c] = files(3);
    await client.bindIrqs(2, 4, [a, b, undefined, undefined, c]);
    await client.setMaskEvents({ on: 'mask', index: 2, start: 0, count: 18, fds: files(18) });
    await client.setMaskEvents({ on: 'unmask', index: 2, start: 3, count: 2, fds: [] });
    const names = Array.from({ length: 18 }, (_, index) => `file${index}`);
    expect(endpoint.calls).toEqual([
      'bind 2 4 file0,file1',
      'unbind 2 6 2',
      'bind 2 8 file2',
      `on mask 2 0 16 ${names.slice(0, 16).join(',')}`,
      `on mask 2 16 2 ${names.slice(16).join(',')}`,
      'on unmask 2 3 2 ',
    ]);
    const wrong = { on: 'mask', index: 2, start: 0, count: 3, fds: files(2) } as const;
    const error = await errorOf(client.setMaskEvents(wrong));
    expect(isLessorError(error, 'INVALID_ARGUMENT')).toBe(true);
    await client.bindIrqs(2, 0, []);
    expect(world.left().filter((name) => name === 'file1')).toEqual(['file1']);
  });

  it('closes what it could not bind', async () => {
    endpoint.before = (call) => {
      if (call.startsWith('unbind'))
        throw Object.assign(new Error('x'), { name: 'OsError', errno: 'EIO' });
    };
    const [a, b] = files(2);
    const error = await errorOf(client.bindIrqs(2, 0, [a, undefined, b]));
    expect(isOsError(error, 'EIO')).toBe(true);
    expect(b?.isOpen).toBe(false);
  });

  it('moves a device to another server', async () => {
    expect(await client.migration.abilities()).toEqual({ stopCopy: true, preCopy: true });
    await client.probeFeature(VFIO_DEVICE_FEATURE_MIGRATION, VFIO_DEVICE_FEATURE_GET);
    const both = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
    await client.probeFeature(VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, both);
    const refused = await errorOf(client.probeFeature(VFIO_DEVICE_FEATURE_MIGRATION, both));
    expect(isOsError(refused, 'EINVAL')).toBe(true);
    await client.migration.setState('pre-copy');
    const early = await client.migration.read(30);
    await client.migration.setState('stop-copy');
    expect(await client.migration.state()).toBe('stop-copy');
    expect(early).toEqual(deviceState.subarray(0, 30));
    const state = await client.migration.readAll(100);
    expect(state).toEqual(deviceState);
    await client.migration.setState('stop');
    await client.migration.setState('resuming');
    await client.migration.write(state);
    await client.migration.setState('running', 10_000);
    expect(endpoint.written).toEqual(deviceState);
    await client.migration.setState('stop-copy');
    const error = await errorOf(client.migration.readAll(99));
    expect(isLessorError(error, 'QUOTA_EXCEEDED')).toBe(true);
    for (const lengthBytes of [0, -1, 0.5, 1_048_577]) {
      const wrong = await errorOf(client.migration.read(lengthBytes));
      expect(isLessorError(wrong, 'INVALID_ARGUMENT')).toBe(true);
    }
    await client.reset();
    expect(await client.migration.state()).toBe('running');
  });

  it('moves a state in as many messages as it takes', async () => {
    await close();
    await open({ maxDataXferBytes: 40 });
    await client.migration.setState('stop-copy');
    expect(await client.migration.readAll(1000)).toEqual(deviceState);
    await client.migration.setState('resuming');
    endpoint.calls.length = 0;
    await client.migration.write(deviceState);
    expect(endpoint.calls).toEqual(['load 40', 'load 40', 'load 20']);
  });

  it('logs dirty pages, and asks once more at unmap', async () => {
    endpoint.dirtyPages.pageBytes = 8192;
    expect(await client.dirtyPages.start(4096, [range])).toBe(8192);
    const bitmap = await client.dirtyPages.report(range, 4096);
    expect([...bitmap]).toEqual([5, 0, 0, 0, 0, 0, 0, 0]);
    expect(await client.dmaUnmapDirty(range, 8192)).toHaveLength(8);
    await client.dirtyPages.stop();
    const error = await errorOf(client.dirtyPages.report(range, 4096));
    expect(isOsError(error, 'EINVAL')).toBe(true);
    expect(endpoint.calls).toEqual([
      'log 4096 4096+262144',
      'dirty 4096 262144 4096',
      'dirty 4096 262144 8192',
      'unmap 4096 262144',
      'log off',
    ]);
  });

  it.each([
    ['a page of 3 bytes', () => client.dirtyPages.start(3)],
    ['a page of half a byte', () => client.dirtyPages.start(0.5)],
    ['no length', () => client.dirtyPages.start(4096, [{ iova: 0n, lengthBytes: 0n }])],
    ['a range past 2^64', () => client.dirtyPages.report({ ...range, lengthBytes: 1n << 64n }, 1)],
    ['an unmap past 2^64', () => client.dmaUnmapDirty({ ...range, iova: 1n << 64n }, 4096)],
    ['an unmap of nothing', () => client.dmaUnmapDirty({ iova: 0n, lengthBytes: 0n }, 4096)],
    ['an unmap in pages of 0', () => client.dmaUnmapDirty(range, 0)],
  ])('refuses %s on its side', async (_what, call) => {
    expect(isLessorError(await errorOf(call()), 'INVALID_ARGUMENT')).toBe(true);
    expect(endpoint.calls).toEqual([]);
  });

  it('serves memory by message on the twin socket, and takes it away', async () => {
    const bytes = new Uint8Array(0x2000);
    await dma.map(client, { iova: 0x1000n, bytes });
    await endpoint.client?.dmaWrite(0x1fffn, Uint8Array.of(1, 2));
    expect([...bytes.subarray(0xfff, 0x1001)]).toEqual([1, 2]);
    await client.dmaUnmap('all');
    await client.dmaMap({
      ...range,
      offsetBytes: 0n,
      readable: true,
      writable: true,
      fd: world.open('m'),
    });
    await client.dmaUnmap(range);
  });
});
