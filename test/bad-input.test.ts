// What clients get wrong, by accident or on purpose: each mistake has its own answer, a broken
// protocol ends its connection, and neither another client nor the broker's holdings notice.
import { openSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { limits } from '../src/base/limits.js';
import type { Client } from '../src/client/client.js';
import type { ForeignMemory, Lease } from '../src/client/lease.js';
import type { Fd } from '../src/os/fd.js';
import { Fd as OwnedFd } from '../src/os/fd.js';
import { F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE } from '../src/os/memory-types.js';
import { loadNative } from '../src/os/native.js';
import {
  VFIO_USER_DEVICE_GET_INFO,
  VFIO_USER_DMA_MAP,
  VFIO_USER_F_TYPE_REPLY,
} from '../src/uapi/vfio-user.js';
import { type FrameChanges, infoPayload, rawFrame } from '../src/vfio-user/testing/raw-peer.js';
import { BrokerFixture, eventually, nothingLeft } from './support/broker-fixture.js';
import { type Bystander, startBystander } from './support/bystander.js';
import { deviceOf, os, peerOf, type RawLease, takeRawLease } from './support/raw-lease.js';

const native = loadNative();
let broker: BrokerFixture;
let bystander: Bystander;
let client: Client;

beforeAll(async () => {
  broker = await BrokerFixture.start({ switches: { allowUnsealedMemory: false } });
  bystander = await startBystander(broker);
  client = await broker.connect();
});

afterAll(async () => {
  client.close();
  await bystander.actor[Symbol.asyncDispose]();
  expect(await broker.stop()).toBe(0);
  await broker[Symbol.asyncDispose]();
});

/** After every group: the bystander worked on, and nothing is left over. */
function checkTheRest(): void {
  afterAll(async () => {
    await bystander.expectUndisturbed();
    client.close();
    expect(await broker.leftOver()).toEqual(nothingLeft);
  });
}

describe('a request', () => {
  checkTheRest();

  test('for a kind that nobody offers', async () => {
    await expect(client.acquire({ kind: 'gpu', memoryBytes: 4096 })).rejects.toMatchObject({
      code: 'UNKNOWN_KIND',
      errno: 'ENOENT',
      hint: expect.stringContaining('lessor'),
    });
  });

  test('for a slice that is not there', async () => {
    await expect(client.acquire({ slice: 'queue99', memoryBytes: 4096 })).rejects.toMatchObject({
      code: 'UNKNOWN_SLICE',
      errno: 'ENOENT',
    });
    await expect(broker.admin.releaseQuarantine('queue99')).rejects.toMatchObject({
      code: 'UNKNOWN_SLICE',
    });
  });

  test('for a slice that is taken names its holder', async () => {
    const { taken, actor } = bystander;
    await expect(client.acquire({ slice: taken.slice, memoryBytes: 4096 })).rejects.toMatchObject({
      code: 'NO_FREE_SLICE',
      errno: 'EBUSY',
      message: expect.stringMatching(
        new RegExp(`${taken.slice}.*${taken.id.slice(0, 8)}.*pid ${actor.pid}`),
      ),
    });
  });

  test.each([
    [{ memoryBytes: -1 }, 'INVALID_ARGUMENT'],
    [{ memoryBytes: limits.leaseMemoryBytesMax + 1 }, 'INVALID_ARGUMENT'],
    [{ memoryBytes: 4096, vectors: 2 }, 'INVALID_ARGUMENT'],
    [{ memoryBytes: 4096, ttlMs: 0 }, 'INVALID_ARGUMENT'],
    [{ memoryBytes: 4096, isolation: 'none' }, 'INVALID_ARGUMENT'],
    [{ memoryBytes: 4096, revocation: 'mediated', mapped: true }, 'REVOCATION_UNAVAILABLE'],
  ])('%j: %s', async (request, code) => {
    await expect(client.acquire(request)).rejects.toMatchObject({ code });
  });

  test('to free a slice that is not in quarantine', async () => {
    await expect(broker.admin.releaseQuarantine('queue7')).rejects.toMatchObject({
      code: 'NOT_QUARANTINED',
      errno: 'EINVAL',
    });
  });

  test('that names no lease, or one that has ended', async () => {
    await expect(client.release('0'.repeat(32))).rejects.toMatchObject({ code: 'LEASE_NOT_FOUND' });
    await expect(broker.admin.revoke('nonsense')).rejects.toMatchObject({
      code: 'LEASE_NOT_FOUND',
    });
    const lease = await client.acquire({ memoryBytes: 4096 });
    await lease.close();
    await expect(client.release(lease.record.id)).rejects.toMatchObject({ code: 'LEASE_ENDED' });
    await expect(client.renew(lease.record.id, 1000)).rejects.toMatchObject({
      code: 'LEASE_ENDED',
    });
  });

  test('of a fault that is not known', async () => {
    await expect(broker.admin.inject('queue7', 'catches fire', 1)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });
});

describe('a map', () => {
  let lease: Lease;
  let base: number;
  const opened: Fd[] = [];

  beforeAll(async () => {
    client = await broker.connect();
    lease = await client.acquire({ memoryBytes: 1024 * 1024 });
    base = lease.record.iovaBase;
  });

  afterEach(() => {
    for (const fd of opened.splice(0)) fd.close();
  });

  // Registered first, run last: the lease is gone before the count.
  checkTheRest();
  afterAll(async () => {
    await lease.close();
  });

  function keep(fd: Fd): Fd {
    opened.push(fd);
    return fd;
  }

  function memfd(seals: number, lengthBytes = 16_384): Fd {
    const fd = keep(os.memory.create('lessor-test', lengthBytes));
    os.memory.addSeals(fd, seals);
    return fd;
  }

  const usual = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  const openFile = (path: string): Fd => keep(new OwnedFd(native, openSync(path, 'r')));

  test.each<[string, string, () => Partial<ForeignMemory> & { fd: Fd }]>([
    ['EBADF', 'a file on disk', () => ({ fd: openFile(process.execPath) })],
    ['EBADF', 'a device', () => ({ fd: openFile('/dev/null') })],
    ['EBADF', 'a folder', () => ({ fd: openFile('/proc/self') })],
    ['EINVAL', 'an eventfd', () => ({ fd: keep(os.events.createEventFd()) })],
    [
      'EBADF',
      'a socket',
      () => {
        const [one, other] = os.sockets.pair();
        keep(other);
        return { fd: keep(one) };
      },
    ],
    ['EPERM', 'memory that could shrink', () => ({ fd: memfd(F_SEAL_GROW) })],
    ['EPERM', 'memory sealed against writing', () => ({ fd: memfd(usual | F_SEAL_WRITE) })],
    [
      'EACCES',
      'a read-only descriptor',
      () => ({
        fd: keep(os.memory.reopenReadOnly(memfd(usual))),
      }),
    ],
    ['EINVAL', 'more than there is', () => ({ fd: memfd(usual, 4096), lengthBytes: 8192 })],
    ['EINVAL', 'past the end', () => ({ fd: memfd(usual), offsetBytes: 16_384 })],
    ['EINVAL', 'half a page', () => ({ fd: memfd(usual), lengthBytes: 2048 })],
    ['EINVAL', 'an odd offset', () => ({ fd: memfd(usual), offsetBytes: 512 })],
    ['EINVAL', 'an odd address', () => ({ fd: memfd(usual), iova: base + 8 })],
    ['ERANGE', 'an address below the window', () => ({ fd: memfd(usual), iova: base - 4096 })],
    [
      'ERANGE',
      'an address above the window',
      () => ({
        fd: memfd(usual),
        iova: base + 1024 * 1024,
      }),
    ],
    [
      'ERANGE',
      'a range across the end of the window',
      () => ({
        fd: memfd(usual),
        iova: base + 1024 * 1024 - 4096,
        lengthBytes: 8192,
      }),
    ],
  ])('%s: %s', async (errno, _, make) => {
    await expect(lease.map({ lengthBytes: 4096, ...make() })).rejects.toMatchObject({ errno });
    // The lease lives on, and the mistake left nothing in the way.
    await lease.unmap(await lease.map({ fd: memfd(usual), lengthBytes: 16_384 }));
  });

  test('over another is EEXIST, and read-only memory may be mapped for reading', async () => {
    const fd = memfd(usual | F_SEAL_WRITE);
    const first = await lease.map({ fd, lengthBytes: 8192, access: 'read' });
    const over = { fd: memfd(usual), lengthBytes: 8192, iova: first.iova + 4096 };
    await expect(lease.map(over)).rejects.toMatchObject({ errno: 'EEXIST' });
    await lease.unmap(first);
    await lease.unmap(await lease.map(over));
  });

  test('cut by an unmap is ENOENT and stays; a range without maps is no mistake', async () => {
    const raw = await takeRawLease(broker.socketPath);
    const device = await deviceOf(raw);
    const { iovaBase } = raw.record;
    const map = { readable: true, writable: true, offsetBytes: 0n, lengthBytes: 8192n };
    await device.dmaMap({ ...map, iova: BigInt(iovaBase), fd: memfd(usual).duplicate() });
    await expect(
      device.dmaUnmap({ iova: BigInt(iovaBase + 4096), lengthBytes: 4096n }),
    ).rejects.toMatchObject({ errno: 'ENOENT' });
    await device.dmaUnmap({ iova: BigInt(iovaBase + 65_536), lengthBytes: 4096n });
    await device.dmaUnmap({ iova: BigInt(iovaBase), lengthBytes: 8192n });
    await device.dmaMap({ ...map, iova: BigInt(iovaBase) });
    device.close();
    raw[Symbol.dispose]();
    expect(await broker.endOf(raw.id)).toMatch(/^(released|holder died)/);
  });
});

describe('a frame', () => {
  checkTheRest();

  const eventFds = (count: number): Fd[] =>
    Array.from({ length: count }, () => os.events.createEventFd());

  test.each<[string, number, Uint8Array | undefined, () => FrameChanges]>([
    ['shorter than a header', 4, undefined, () => ({ messageSize: 15 })],
    [
      'longer than the limit',
      10,
      undefined,
      () => ({
        messageSize: limits.vfioUserMessageBytesMax + 1,
      }),
    ],
    ['of no type', 4, infoPayload(), () => ({ flags: 0x2 })],
    ['that answers nothing', 4, infoPayload(), () => ({ flags: VFIO_USER_F_TYPE_REPLY })],
    [
      'with a descriptor that it never takes',
      VFIO_USER_DEVICE_GET_INFO,
      infoPayload(),
      () => ({
        fds: eventFds(1),
      }),
    ],
    [
      'with a descriptor too many',
      VFIO_USER_DMA_MAP,
      new Uint8Array(32),
      () => ({
        fds: eventFds(limits.vfioUserFdsMax + 1),
      }),
    ],
  ])('%s ends the connection and its lease', async (_, command, payload, changes) => {
    const lease = await takeRawLease(broker.socketPath);
    const peer = await peerOf(lease);
    expect(await peer.ask(VFIO_USER_DEVICE_GET_INFO, infoPayload())).toBe('ok');
    peer.send(command, payload, changes());
    await eventually('the connection ends', () => peer.ended);
    expect(await broker.endOf(lease.id)).toMatch(/^holder died/);
    peer.close();
    lease[Symbol.dispose]();
  });

  test.each<[string, (lease: RawLease) => void]>([
    [
      'that is not VERSION',
      (lease) => {
        sendBytes(lease.fd, rawFrame(VFIO_USER_DEVICE_GET_INFO, infoPayload()));
      },
    ],
    ['of noise', (lease) => sendBytes(lease.fd, Buffer.alloc(4096, 0xa5))],
  ])('first %s ends the connection and its lease', async (_, send) => {
    const lease = await takeRawLease(broker.socketPath);
    send(lease);
    expect(await broker.endOf(lease.id)).toMatch(/^holder died/);
    lease[Symbol.dispose]();
  });

  test('with more descriptors than a map takes is an errno, no end', async () => {
    const lease = await takeRawLease(broker.socketPath);
    const peer = await peerOf(lease);
    const answer = await peer.ask(VFIO_USER_DMA_MAP, new Uint8Array(32), { fds: eventFds(2) });
    expect(answer).toBe('EINVAL');
    expect(await peer.ask(VFIO_USER_DEVICE_GET_INFO, infoPayload())).toBe('ok');
    peer.close();
    lease[Symbol.dispose]();
    await broker.endOf(lease.id);
  });
});

/** Bytes on a descriptor, past everything that would keep a client from sending them. */
function sendBytes(fd: Fd, bytes: Uint8Array): void {
  const stream = os.sockets.stream(fd.duplicate());
  stream.send(bytes);
  stream[Symbol.dispose]();
}

describe('on the control socket', () => {
  checkTheRest();

  const nul = '\0';
  test.each<[string, Uint8Array, number]>([
    ['noise', Buffer.from(`\x01\x02 no JSON${nul}`), 0],
    ['JSON that is no call', Buffer.from(`[1,2]${nul}`), 0],
    ['a call without a method', Buffer.from(`{"parameters":{}}${nul}`), 0],
    ['a message over the limit', Buffer.alloc(limits.varlinkMessageBytesMax + 1, 0x20), 0],
    [
      'deep nesting',
      Buffer.from(`{"method":"a.b.C","parameters":{"x":${'['.repeat(999)}${nul}`),
      0,
    ],
    [
      'descriptors that no method takes',
      Buffer.from(`{"method":"io.lessor.Control.GetInfo"}${nul}`),
      2,
    ],
    [
      'more descriptors than any method takes',
      Buffer.from(`{"method":"io.lessor.Control.Acquire","parameters":{"memoryBytes":1}}${nul}`),
      limits.varlinkFdsMax + 1,
    ],
  ])('%s ends that connection alone', async (_, bytes, fdCount) => {
    const socket = os.sockets.connect(broker.socketPath);
    let ended = false;
    socket.start(
      { wantBytes: () => 4096, data: () => undefined, end: () => (ended = true) },
      { fdsMax: 0 },
    );
    socket.send(
      bytes,
      Array.from({ length: fdCount }, () => os.events.createEventFd()),
    );
    await eventually('the connection ends', () => ended);
    expect((await broker.control.info()).slices.length).toBe(8);
  });

  test('an unknown method is answered, and the connection lives', async () => {
    const socket = os.sockets.connect(broker.socketPath);
    const texts: string[] = [];
    let ended = false;
    socket.start(
      {
        wantBytes: () => 65_536,
        data: (bytes) => texts.push(Buffer.from(bytes).toString()),
        end: () => (ended = true),
      },
      { fdsMax: 0 },
    );
    for (const method of ['io.lessor.Control.Destroy', 'io.lessor.Control.List']) {
      socket.send(Buffer.from(`${JSON.stringify({ method, parameters: {} })}${nul}`));
    }
    await eventually('two answers', () => texts.join('').split(nul).length === 3);
    expect(texts.join('')).toMatch(/MethodNotFound.*"leases"/s);
    expect(ended).toBe(false);
    socket[Symbol.dispose]();
  });
});
