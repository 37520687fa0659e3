// Another lease's window as a DMA target, through the SDK and a broker in a process of its own.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Client } from '../src/client/client.js';
import type { ExportedWindow, Lease } from '../src/client/lease.js';
import { Queue } from '../src/client/mqdma/index.js';
import {
  BrokerFixture,
  eventually,
  isRoot,
  nothingLeft,
  otherUid,
} from './support/broker-fixture.js';
import type { Bystander } from './support/bystander.js';
import { os } from './support/raw-lease.js';
import { finishStanding, startStanding } from './support/standing-broker.js';
import { startMapper, startOwner } from './support/window-processes.js';

const pageBytes = 4096;
/** Upper half of a queue's page: registers that mqdma does not have. */
const unusedBytes = 2048;
const O_RDWR = 2;

let broker: BrokerFixture;
let bystander: Bystander;
let client: Client;

beforeAll(async () => {
  ({ broker, bystander, client } = await startStanding());
});

afterAll(async () => {
  await finishStanding({ broker, bystander, client });
});

interface Pair extends AsyncDisposable {
  readonly owner: Lease;
  readonly exported: ExportedWindow;
  readonly mapper: Lease;
  readonly queue: Queue;
}

/** A lease whose window is exported, and one that is to map it. */
async function pair(terms: { readonly ttlMs?: number } = {}, from = client): Promise<Pair> {
  const mapper = await from.acquire({ memoryBytes: 1024 * 1024 });
  const queue = await Queue.create(mapper, { entries: 16 });
  const owner = await from.acquire({ memoryBytes: 65_536, ...terms });
  const exported = await owner.exportWindow('queue');
  return {
    owner,
    exported,
    mapper,
    queue,
    async [Symbol.asyncDispose]() {
      exported[Symbol.dispose]();
      await owner.close();
      await mapper.close();
    },
  };
}

function write(queue: Queue, iova: number, pattern = 0x0707_0707_0707_0707n): Promise<void> {
  return queue.fill({ destination: iova + unusedBytes, lengthBytes: unusedBytes, pattern });
}

/** The errno with which a map is refused, or 'ok'. */
async function refusal(mapper: Lease, memory: Parameters<Lease['map']>[0]): Promise<string> {
  try {
    await mapper.unmap(await mapper.map(memory));
    return 'ok';
  } catch (error) {
    return (error as { errno: string }).errno;
  }
}

const revoked = { code: 'DEVICE_FAULT', message: expect.stringContaining('revoked') };

describe('a window of another lease', () => {
  test('is written and read by the device, as by a store', async () => {
    await using leases = await pair();
    const { owner, exported, mapper, queue } = leases;
    const { iova } = await mapper.map(exported);
    await write(queue, iova);
    const { u8 } = owner.mappedWindow('queue');
    expect(u8.subarray(unusedBytes).every((byte) => byte === 7)).toBe(true);
    u8[pageBytes - 1] = 9;
    const data = await mapper.memory.allocate(pageBytes);
    await queue.copy({ source: iova, destination: data.iova, lengthBytes: pageBytes });
    expect(data.u8[pageBytes - 1]).toBe(9);
  });

  test('may be mapped in two leases, and twice in one', async () => {
    await using leases = await pair();
    await using others = await pair();
    const one = await leases.mapper.map(leases.exported);
    const two = await leases.mapper.map(leases.exported);
    const three = await others.mapper.map(leases.exported);
    const { u8 } = leases.owner.mappedWindow('queue');
    for (const [queue, iova] of [
      [leases.queue, one.iova],
      [leases.queue, two.iova],
      [others.queue, three.iova],
    ] as const) {
      u8.fill(0, unusedBytes);
      await write(queue, iova);
      expect(u8[unusedBytes]).toBe(7);
    }
    await leases.owner.close();
    for (const iova of [one.iova, two.iova]) {
      await expect(write(leases.queue, iova)).rejects.toMatchObject(revoked);
      await leases.queue.reset();
    }
    await expect(write(others.queue, three.iova)).rejects.toMatchObject(revoked);
  });

  test('of which only reading is allowed is read', async () => {
    await using leases = await pair();
    const { owner, mapper, queue } = leases;
    using status = await owner.exportWindow('status');
    expect(status.access).toBe('read');
    const { iova } = await mapper.map(status);
    const data = await mapper.memory.allocate(pageBytes);
    data.u8.fill(1);
    await queue.copy({ source: iova, destination: data.iova, lengthBytes: pageBytes });
    expect(data.u8[pageBytes - 1]).toBe(0);
    await expect(write(queue, iova)).rejects.toMatchObject({
      code: 'DEVICE_FAULT',
      message: expect.stringContaining('no permission'),
    });
    expect(await refusal(mapper, { ...status, access: 'read-write' })).toBe('EACCES');
    expect(await refusal(mapper, { ...status, access: 'write' })).toBe('EACCES');
  });
});

describe('it is cut', () => {
  const ends: Record<string, (leases: Pair) => Promise<unknown>> = {
    'by revoke': ({ owner }) => broker.admin.revoke(owner.record.id),
    'by release': ({ owner }) => owner.close(),
    'when its time is over': async () => undefined,
    'when its holder truncates it': async ({ exported }) => os.memory.truncate(exported.fd, 0),
  };

  test.each(Object.keys(ends))('%s, and stays dead', async (how) => {
    await using leases = await pair(how === 'when its time is over' ? { ttlMs: 1500 } : {});
    const { owner, exported, mapper, queue } = leases;
    const mapping = await mapper.map(exported);
    await write(queue, mapping.iova);
    await ends[how]?.(leases);
    // The device looks when it is asked to; then the guard tells.
    if (how === 'when its holder truncates it') await write(queue, mapping.iova).catch(() => 0);
    await broker.endOf(owner.record.id);
    await queue.reset();
    await expect(write(queue, mapping.iova)).rejects.toMatchObject(revoked);
    const { fault } = await eventually('the fault is told', () =>
      broker.events.find(
        ({ type, lease, fault: found }) =>
          type === 'fault' && lease === mapper.record.id && found?.reason === 'revoked',
      ),
    );
    expect(fault).toMatchObject({ iova: mapping.iova + unusedBytes, access: 'write' });
    await queue.reset();
    using memory = os.memory.create('lessor-test', pageBytes);
    os.memory.addSeals(memory, 2);
    const { iova, lengthBytes } = mapping;
    // Another lease of the same slice does not bring it back.
    await using next = await client.acquire({ memoryBytes: 65_536, slice: owner.record.slice });
    const before = next.mappedWindow('queue').u8.slice(unusedBytes);
    await expect(write(queue, iova)).rejects.toMatchObject(revoked);
    expect(next.mappedWindow('queue').u8.subarray(unusedBytes)).toEqual(before);
    await queue.reset();
    await mapper.unmap(mapping);
    await mapper.map({ fd: memory, lengthBytes, iova });
    await write(queue, iova);
  });

  test('by the death of its holder, in the hands of another process', async () => {
    const { child, id, nextLine } = await startOwner(broker.socketPath);
    expect(await nextLine()).toBe('writes');
    child.kill('SIGKILL');
    expect(await broker.endOf(id)).toBe('holder died');
    expect(await nextLine()).toMatch(/^DEVICE_FAULT: .*revoked/);
    expect(await nextLine()).toBe('nothing');
  });

  test('by a reset of the function, and nothing is left', async () => {
    await using own = await BrokerFixture.start({ queues: 2 });
    const ownClient = await own.connect();
    await using warm = await pair({}, ownClient);
    await warm[Symbol.asyncDispose]();
    await own.countBefore();
    await using leases = await pair({}, ownClient);
    await leases.mapper.map(leases.exported);
    await own.admin.reset('test');
    expect(await own.endOf(leases.owner.record.id)).toBe('function reset');
    expect(await own.endOf(leases.mapper.record.id)).toBe('function reset');
    await leases[Symbol.asyncDispose]();
    expect(await own.leftOver()).toEqual(nothingLeft);
    ownClient.close();
  });

  test('by the end of the lease that maps it, without harm to the other', async () => {
    await using leases = await pair();
    const { owner, exported, mapper } = leases;
    await mapper.map(exported);
    await mapper.close();
    const queue = await Queue.create(owner, { entries: 4 });
    await queue.nop();
  });

  test('not before the grace is over; what is mapped anew is refused already', async () => {
    await using leases = await pair();
    const { owner, exported, mapper, queue } = leases;
    const { iova } = await mapper.map(exported);
    const told = new Promise((resolve) => owner.once('revoking', resolve));
    await broker.admin.revoke(owner.record.id, { graceMs: 60_000 });
    await told;
    await write(queue, iova);
    expect(await refusal(mapper, exported)).toBe('ENODEV');
    await owner.close();
    await expect(write(queue, iova)).rejects.toMatchObject(revoked);
  });
});

describe('it is refused', () => {
  test.each([
    ['past its end', { offsetBytes: pageBytes, lengthBytes: pageBytes }, 'EINVAL'],
    ['longer than it is', { lengthBytes: 2 * pageBytes }, 'EINVAL'],
    ['off the page', { offsetBytes: 1024, lengthBytes: 1024 }, 'EINVAL'],
    ['around the end of u64', { offsetBytes: -pageBytes }, 'EINVAL'],
    ['outside of the IOVA window', { iova: 2 ** 40 }, 'ERANGE'],
  ])('%s', async (_, change, errno) => {
    await using leases = await pair();
    const { exported, mapper } = leases;
    const { offsetBytes } = { ...exported, ...change };
    const wrapped = offsetBytes < 0 ? 2 ** 53 - pageBytes : offsetBytes;
    const memory = { ...exported, ...change, offsetBytes: wrapped };
    expect(await refusal(mapper, memory)).toBe(errno);
    expect(await refusal(mapper, exported)).toBe('ok');
  });

  test('before its lease is enabled, and not after', async () => {
    await using leases = await pair();
    await using early = await client.acquire({ memoryBytes: 65_536, enable: false });
    using exported = await early.exportWindow('queue');
    expect(await refusal(leases.mapper, exported)).toBe('EAGAIN');
    await early.enable();
    expect(await refusal(leases.mapper, exported)).toBe('ok');
  });

  test('after its lease has ended', async () => {
    await using leases = await pair();
    const { owner, exported, mapper } = leases;
    await owner.close();
    // Nobody's by now: memory of the client like any other, and not sealed as that has to be.
    expect(await refusal(mapper, exported)).toBe('EPERM');
  });

  test('when it only has the name of one', async () => {
    await using leases = await pair();
    using memory = os.memory.create('lessor-window-mqdma-test-0', pageBytes);
    expect(await refusal(leases.mapper, { fd: memory, lengthBytes: pageBytes })).toBe('EPERM');
  });

  test('when it is one of another broker, although memory need not be sealed', async () => {
    const switches = { allowUnsealedMemory: true };
    await using other = await BrokerFixture.start({ queues: 2, switches });
    const otherClient = await other.connect();
    await using theirs = await pair({}, otherClient);
    await using leases = await pair();
    expect(await refusal(leases.mapper, theirs.exported)).toBe('EPERM');
    // There it is the client's memory, which is sealed against the device's writes.
    expect(await refusal(theirs.mapper, leases.exported)).toBe('EPERM');
    expect(await refusal(theirs.mapper, { ...leases.exported, access: 'read' })).toBe('ok');
    // A window of its own is one with that switch too.
    const { iova } = await theirs.mapper.map(theirs.exported);
    await theirs.owner.close();
    await expect(write(theirs.queue, iova)).rejects.toMatchObject(revoked);
    otherClient.close();
  });

  test.skipIf(!isRoot)(
    'to write what may only be read, by any descriptor (needs root)',
    async () => {
      await using leases = await pair();
      using status = await leases.owner.exportWindow('status');
      const path = `/proc/self/fd/${status.fd.number}`;
      using fd = os.ioctl.open(path, O_RDWR);
      const writable = { ...status, fd, access: 'read-write' } as const;
      expect(await refusal(leases.mapper, writable)).toBe('EPERM');
      expect(await refusal(leases.mapper, { ...writable, access: 'read' })).toBe('ok');
    },
  );

  test.skipIf(!isRoot)('to a lease of another user (needs root)', async () => {
    await using own = await BrokerFixture.start({ queues: 4, uid: otherUid, socketMode: 0o666 });
    const ownClient = await own.connect();
    await using leases = await pair({}, ownClient);
    const stranger = startMapper(own.socketPath, leases.exported.fd.number, otherUid);
    expect(await stranger.nextLine()).toMatch(/^EACCES: /);
    const friend = startMapper(own.socketPath, leases.exported.fd.number);
    expect(await friend.nextLine()).toBe('writes');
    await leases.owner.close();
    expect(await friend.nextLine()).toMatch(/^DEVICE_FAULT: .*revoked/);
    ownClient.close();
  });
});

test('mapped while it is revoked, it is refused or cut', async () => {
  const seen = new Set<string>();
  for (let round = 0; round < 12; round += 1) {
    await using leases = await pair();
    const { owner, exported, mapper, queue } = leases;
    const end = broker.admin.revoke(owner.record.id);
    const maps = Array.from({ length: 8 }, () =>
      mapper.map(exported).catch((error: { errno: string }) => error.errno),
    );
    await end;
    await broker.endOf(owner.record.id);
    for (const mapped of await Promise.all(maps)) {
      seen.add(typeof mapped === 'string' ? mapped : 'mapped');
      if (typeof mapped === 'string') continue;
      await expect(write(queue, mapped.iova)).rejects.toMatchObject(revoked);
      await queue.reset();
      await mapper.unmap(mapped);
    }
  }
  for (const outcome of seen) expect(['mapped', 'ENODEV', 'EPERM']).toContain(outcome);
});
