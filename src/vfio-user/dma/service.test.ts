// A client that serves DMA messages, one rule per test, and the table it may serve them from.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AssertionFailure, isLessorError, isOsError, OsError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { systemClock } from '../../os/clock.js';
import * as u from '../../uapi/vfio-user.js';
import { connectVfioUser, type VfioUserClient } from '../client.js';
import { serveVfioUser } from '../server.js';
import { TestEndpoint } from '../testing/endpoint.js';
import { type FrameChanges, RawPeer, verdict } from '../testing/raw-peer.js';
import { turns, until, type World, worlds } from '../testing/world.js';
import { encodeVersion, ownCapabilities } from '../version.js';
import type { DmaHandler } from './handler.js';
import { DmaTable } from './table.js';

const { VFIO_USER_DMA_READ: read, VFIO_USER_DMA_WRITE: write } = u;

function access(address: bigint, count: number, data = 0): Uint8Array {
  return new Uint8Array([
    ...u.dmaAccess.encode({ address, count }),
    ...new Uint8Array(data).fill(0x5a),
  ]);
}

describe.each(worlds)('a client that serves memory %s', (_name, createWorld) => {
  let world: World;
  let server: RawPeer;
  let client: VfioUserClient;
  let table: DmaTable;
  let calls: string[];
  let before: () => void | Promise<void>;

  async function open(dma: DmaHandler | undefined, maxDataXferBytes = 1_048_576): Promise<void> {
    world = createWorld();
    const [near, far] = world.pair();
    server = new RawPeer(far);
    const options = { clock: systemClock, capabilities: { maxDataXferBytes } };
    const opening = connectVfioUser(near, dma === undefined ? options : { ...options, dma });
    const { header } = await server.next();
    const changes = { flags: 1, messageId: header.messageId };
    server.send(1, encodeVersion(1, ownCapabilities), changes);
    client = await opening;
  }

  beforeEach(() => {
    calls = [];
    before = () => {};
    table = new DmaTable();
    table.add({ iova: 0x1000n, bytes: new Uint8Array(0x1000).fill(1) });
    table.add({ iova: 0x2000n, bytes: new Uint8Array(0x1000).fill(2), writable: false });
    table.add({ iova: 0x4000n, bytes: new Uint8Array(0x1000), readable: false });
    const run = <T>(call: string, body: () => T): T | Promise<T> => {
      calls.push(call);
      const wait = before();
      return wait instanceof Promise ? wait.then(body) : body();
    };
    return open({
      read: (iova, count) => run(`read ${iova} ${count}`, () => table.read(iova, count)),
      write: (iova, bytes) => run(`write ${iova} ${bytes.length}`, () => table.write(iova, bytes)),
    });
  });

  async function finish(): Promise<void> {
    client.close();
    server.close();
    await until(() => world.left().length === 0, 'no leak');
  }

  afterEach(finish);

  it('answers a read with request and data', async () => {
    server.send(read, access(0x1ffen, 4), { messageId: 9 });
    const { header, payload } = await server.next();
    expect(header).toEqual({ messageId: 9, command: 11, messageSize: 36, flags: 1, errno: 0 });
    expect([...payload]).toEqual([...access(0x1ffen, 4), 1, 1, 2, 2]);
  });

  it('answers a write with the request', async () => {
    server.send(write, access(0x1001n, 2, 2));
    expect([...(await server.next()).payload]).toEqual([...access(0x1001n, 2)]);
    expect([...table.read(0x1000n, 4)]).toEqual([1, 0x5a, 0x5a, 1]);
  });

  it.each([
    ['EFAULT', 'a read out of all maps', read, access(0x8000n, 4)],
    ['EFAULT', 'a read that leaves a map', read, access(0x2fffn, 2)],
    ['EFAULT', 'a read that begins before one', read, access(0xfffn, 2)],
    ['EFAULT', 'a read at the last byte', read, access((1n << 64n) - 1n, 1)],
    ['EPERM', 'a write to memory for reading', write, access(0x1fffn, 2, 2)],
    ['EPERM', 'a read of memory for writing', read, access(0x4000n, 1)],
    ['E2BIG', 'a read of 2^20 + 1 bytes', read, access(0x1000n, 1_048_577)],
    ['E2BIG', 'a write that says so', write, access(0x1000n, 1_048_577, 4)],
    ['EINVAL', 'a read of nothing', read, access(0x1000n, 0)],
    ['EINVAL', 'a write of nothing', write, access(0x1000n, 0)],
    ['EINVAL', 'a short read', read, new Uint8Array(15)],
    ['EINVAL', 'a read with data', read, access(0x1000n, 4, 4)],
    ['EINVAL', 'a write of less data than it says', write, access(0x1000n, 4, 3)],
    ['EINVAL', 'a write of more data than it says', write, access(0x1000n, 4, 5)],
    ['EINVAL', 'a range past 2^64', read, access((1n << 64n) - 1n, 2)],
    ['ENOSYS', 'another command', 9, access(0x1000n, 4)],
  ])('answers %s to %s', async (errno, _what, command, payload) => {
    expect(await server.ask(command, payload)).toBe(errno);
    expect(client.isOpen).toBe(true);
    expect([...table.read(0x1000n, 0x1000)]).toEqual([...new Uint8Array(0x1000).fill(1)]);
  });

  it.each([
    ['a descriptor', {}, 1],
    ['an unknown flag', { flags: 0x40 }, 0],
    ['an errno', { errno: 1 }, 0],
  ] as [string, FrameChanges, number][])(
    'answers EINVAL to a read with %s',
    async (_what, changes, fdCount) => {
      const fds = Array.from({ length: fdCount }, () => world.open('file'));
      expect(await server.ask(read, access(0x1000n, 4), { ...changes, fds })).toBe('EINVAL');
      expect(calls).toEqual([]);
      expect(world.left().filter((name) => name === 'file')).toEqual([]);
    },
  );

  it('does what wants no answer, and gives none', async () => {
    server.send(write, access(0x1000n, 1, 1), { flags: 0x10 });
    server.send(write, access(0x8000n, 1, 1), { flags: 0x10 });
    expect(await server.ask(read, access(0x1000n, 1))).toBe('ok');
    expect(calls).toEqual(['write 4096 1', 'write 32768 1', 'read 4096 1']);
  });

  it('keeps to what it said that it takes', async () => {
    await finish();
    await open(table, 100);
    expect(await server.ask(read, access(0x1000n, 100))).toBe('ok');
    expect(await server.ask(read, access(0x1000n, 101))).toBe('E2BIG');
  });

  it('answers in order, one at a time, while it awaits replies of its own', async () => {
    let running = 0;
    before = async () => {
      expect(++running).toBe(1);
      await turns(2);
      running--;
    };
    const reading = client.read8(0, 0);
    const { header } = await server.next();
    for (const messageId of [3, 4, 5]) server.send(read, access(0x1000n, 1), { messageId });
    const reply = new Uint8Array(17);
    reply.set([1, 0, 0, 0, 42], 12);
    server.send(9, reply, { flags: 1, messageId: header.messageId });
    const ids: number[] = [];
    for (let i = 0; i < 3; i++) ids.push((await server.next()).header.messageId);
    expect(ids).toEqual([3, 4, 5]);
    expect(await reading).toBe(42);
  });

  it.each([
    ['count', limits.vfioUserDmaServedMax, 0],
    ['bytes', limits.vfioUserDmaServedBytesMax / 1_048_576, 1_048_576 - 16],
  ])('lets no more wait than the limit of their %s', async (what, fit, dataBytes) => {
    let done = (): void => {};
    const slow = new Promise<void>((resolve) => {
      done = resolve;
    });
    before = () => slow;
    const payload = dataBytes === 0 ? access(0x1000n, 1) : access(0x1000n, dataBytes, dataBytes);
    const command = dataBytes === 0 ? read : write;
    // The first runs and does not count.
    for (let id = 0; id < fit + 2; id++) {
      server.send(command, payload, { messageId: id });
      if (what === 'bytes') await turns(40);
    }
    const refused = await server.next();
    expect([refused.header.messageId, verdict(refused)]).toEqual([fit + 1, 'EAGAIN']);
    done();
    for (let id = 0; id <= fit; id++) expect((await server.next()).header.messageId).toBe(id);
  });

  it('forgets what waits when the connection ends', async () => {
    before = () => turns(4);
    for (let i = 0; i < 3; i++) server.send(read, access(0x1000n, 1));
    await until(() => calls.length === 1, 'asked');
    await turns(1);
    server.close();
    await until(() => !client.isOpen, 'the end');
    await turns(8);
    expect(calls).toHaveLength(1);
  });

  it('answers the errno of the handler', async () => {
    before = () => Promise.reject(new OsError('ENODEV', 'dma'));
    expect(await server.ask(read, access(0x1000n, 1))).toBe('ENODEV');
  });

  it('without a handler answers ENOSYS', async () => {
    await finish();
    await open(undefined);
    expect(await server.ask(read, access(0x1000n, 1))).toBe('ENOSYS');
  });
});

it('a bug of the handler ends the connection and comes out', async () => {
  const [, createWorld] = worlds[0];
  const world = createWorld();
  const [near, far] = world.pair();
  const server = new RawPeer(far);
  const bug = () => {
    throw new AssertionFailure('ours');
  };
  let data: ((bytes: Uint8Array) => void) | undefined;
  const start = near.start.bind(near);
  near.start = (handler, options) => {
    data = (bytes) => handler.data(bytes, [], 0);
    start(handler, options);
  };
  const opening = connectVfioUser(near, {
    clock: systemClock,
    dma: { read: bug, write: bug },
  });
  const { header } = await server.next();
  const changes = { flags: 1, messageId: header.messageId };
  server.send(1, encodeVersion(1, ownCapabilities), changes);
  const client = await opening;
  const frame = new Uint8Array(32);
  u.header.encodeAt({ messageId: 1, command: 11, messageSize: 32, flags: 0, errno: 0 }, frame, 0);
  frame.set(access(0n, 1), 16);
  data?.(frame.subarray(0, 16));
  expect(() => data?.(frame.subarray(16))).toThrow(AssertionFailure);
  expect(client.isOpen).toBe(false);
  await until(() => server.ended, 'the end');
  server.close();
  expect(world.left()).toEqual([]);
});

describe.each(worlds)('maps without descriptor %s', (_name, createWorld) => {
  it('work end to end', async () => {
    const world = createWorld();
    const endpoint = new TestEndpoint(world);
    const [near, far] = world.pair();
    serveVfioUser(far, endpoint, { clock: systemClock });
    const dma = new DmaTable();
    const client = await connectVfioUser(near, { clock: systemClock, dma });
    const bytes = new Uint8Array(3 * 1_048_576);
    await dma.map(client, { iova: 0x10_0000n, bytes, writable: true });
    expect(endpoint.calls).toEqual(['map 1048576 3145728 0 rw none']);
    const data = bytes.map((_, index) => index >> 3);
    await endpoint.client?.dmaWrite(0x10_0000n, data);
    expect(Buffer.compare(bytes, data)).toBe(0);
    const back = await endpoint.client?.dmaRead(0x10_0001n, bytes.length - 1);
    expect(Buffer.compare(back as Uint8Array, data.subarray(1))).toBe(0);
    await dma.unmap(client, 0x10_0000n);
    const error = await endpoint.client?.dmaRead(0x10_0000n, 4).catch((thrown) => thrown);
    expect(isOsError(error, 'EFAULT')).toBe(true);
    client.close();
    await until(() => endpoint.closedCount === 1 && world.left().length === 0, 'no leak');
  });

  it('stay unserved when the server refuses, and served when it keeps them', async () => {
    const world = createWorld();
    const endpoint = new TestEndpoint(world);
    const [near, far] = world.pair();
    serveVfioUser(far, endpoint, { clock: systemClock });
    const dma = new DmaTable();
    const client = await connectVfioUser(near, { clock: systemClock, dma });
    const buffer = { iova: 0n, bytes: new Uint8Array(16) };
    const refuse = (): never => {
      throw new OsError('ENOSPC', 'map');
    };
    endpoint.before = refuse;
    await expect(dma.map(client, buffer)).rejects.toMatchObject({ errno: 'ENOSPC' });
    expect(() => dma.read(0n, 1)).toThrow(OsError);
    endpoint.before = () => {};
    await dma.map(client, buffer);
    endpoint.before = refuse;
    await expect(dma.unmap(client, 0n)).rejects.toMatchObject({ errno: 'ENOSPC' });
    expect(dma.read(0n, 16)).toHaveLength(16);
    await expect(dma.unmap(client, 1n)).rejects.toMatchObject({ code: 'IOVA_NOT_MAPPED' });
    client.close();
    await until(() => endpoint.closedCount === 1 && world.left().length === 0, 'no leak');
  });
});

describe('the table', () => {
  const bytes = new Uint8Array(0x10);

  it.each([
    ['nothing', { iova: 0n, bytes: new Uint8Array(0) }],
    ['a negative address', { iova: -1n, bytes }],
    ['a range past 2^64', { iova: (1n << 64n) - 0xfn, bytes }],
  ])('refuses %s', (_what, buffer) => {
    let thrown: unknown;
    try {
      new DmaTable().add(buffer);
    } catch (error) {
      thrown = error;
    }
    expect(isLessorError(thrown, 'INVALID_ARGUMENT')).toBe(true);
  });

  it('takes the last bytes of all addresses', () => {
    const table = new DmaTable();
    const iova = (1n << 64n) - 0x10n;
    table.add({ iova, bytes });
    expect([...table.read(iova + 0xen, 2)]).toEqual([0, 0]);
  });

  it('refuses an overlap, takes neighbours and what was removed', () => {
    const table = new DmaTable();
    table.add({ iova: 0x100n, bytes });
    expect(() => table.add({ iova: 0x10fn, bytes })).toThrow(/bytes at 271/);
    expect(() => table.add({ iova: 0xf1n, bytes })).toThrow(/bytes at 241/);
    table.add({ iova: 0x110n, bytes });
    table.add({ iova: 0xf0n, bytes });
    table.remove(0x100n);
    expect(() => table.remove(0x100n)).toThrow(/no buffer/);
    expect(() => table.read(0xf0n, 0x11)).toThrow(OsError);
    table.add({ iova: 0x100n, bytes: bytes.slice().fill(4) });
    expect([...table.read(0xffn, 3)]).toEqual([0, 4, 4]);
  });
});
