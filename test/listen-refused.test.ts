// Leases for VM monitors that nobody takes, or nobody gets.
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Client, ListenRequest } from '../src/client/client.js';
import type { ListeningLease } from '../src/client/listening-lease.js';
import { Fd } from '../src/os/fd.js';
import { loadNative } from '../src/os/index.js';
import { VarlinkClient } from '../src/varlink/client.js';
import type { AcquireReply } from '../src/varlink/interface.js';
import { BrokerFixture, eventually, isRoot, otherUid } from './support/broker-fixture.js';
import type { Bystander } from './support/bystander.js';
import { ram, ramBytes, rawListen } from './support/raw-listen.js';
import { finishStanding, ListenFolder, startStanding } from './support/standing-broker.js';
import { guestMemory, monitorOs, VmMonitor } from './support/vm-monitor.js';
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

describe('a lease that nobody has taken', () => {
  test('is released by its acquirer, and its socket goes with it', async () => {
    const lease = await listen();
    expect(existsSync(lease.path)).toBe(true);
    await lease.close();
    await lease.close();
    expect(await lease.ended).toEqual({ reason: 'released', released: true });
    expect(existsSync(lease.path)).toBe(false);
  });

  test('ends with its control connection', async () => {
    const bound = monitorOs.sockets.bind(folder.freePath(), 0o600, 8);
    const raw = await rawListen(broker.socketPath, bound.fd.duplicate());
    raw.close();
    expect(await broker.endOf(raw.id)).toBe('holder died');
    bound[Symbol.dispose]();
  });

  test('without a holder ends when nobody comes in time', async () => {
    await using hasty = await BrokerFixture.start({ deadlines: { listenConnectMs: 150 } });
    const bound = monitorOs.sockets.bind(folder.freePath(), 0o600, 8);
    using control = new VarlinkClient(monitorOs.sockets.connect(hasty.socketPath), monitorOs.clock);
    const parameters = { memoryBytes: 4096, listen: 0, holder: 'fd' };
    const { parameters: reply } = await control.call<AcquireReply>(
      'io.lessor.Control.Acquire',
      parameters,
      { fds: [bound.fd.duplicate()] },
    );
    expect(await hasty.endOf(reply.lease?.id ?? '')).toBe('holder died');
    bound[Symbol.dispose]();
  });
});

describe('what is refused', () => {
  const connected = (): Fd => {
    const [one, other] = monitorOs.sockets.pair();
    other.close();
    return one;
  };
  const unbound = (): Fd => new Fd(loadNative(), loadNative().socket(1, 1));
  const packets = (): Fd => {
    const native = loadNative();
    const fd = new Fd(native, native.socket(1, 5));
    const address = new Uint8Array([1, 0, ...Buffer.from(folder.freePath()), 0]);
    expect(native.bind(fd.number, address)).toBe(0);
    expect(native.listen(fd.number, 1)).toBe(0);
    return fd;
  };
  test.each<[string, () => Fd]>([
    ['a connected socket', connected],
    ['a socket that is not bound', unbound],
    ['a listening socket for packets', packets],
    ['an eventfd', () => monitorOs.events.createEventFd()],
    ['memory', () => guestMemory(4096)],
  ])('%s', async (_, make) => {
    await expect(rawListen(broker.socketPath, make())).rejects.toMatchObject({
      code: 'FD_REFUSED',
    });
  });

  test('an index at which no descriptor came', async () => {
    const bound = monitorOs.sockets.bind(folder.freePath(), 0o600, 8);
    await expect(
      rawListen(broker.socketPath, bound.fd.duplicate(), { listen: 1 }),
    ).rejects.toMatchObject({
      code: 'FD_REFUSED',
    });
    bound[Symbol.dispose]();
  });

  test('a path at which something else stands, or somebody listens', async () => {
    const file = folder.freePath();
    writeFileSync(file, '');
    await using lease = await listen();
    for (const path of [file, lease.path]) {
      await expect(listen({ listen: { path } })).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      });
      expect(existsSync(path)).toBe(true);
    }
    // Whoever looked took nothing.
    using monitor = await VmMonitor.connect(lease.path);
    expect(monitor.device.isOpen).toBe(true);
  });

  test('a socket that a dead process left is replaced', async () => {
    const path = folder.freePath();
    const bound = monitorOs.sockets.bind(path, 0o600, 8);
    bound.fd.close();
    expect(existsSync(path)).toBe(true);
    await using lease = await listen({ listen: { path } });
    expect(lease.path).toBe(path);
    using monitor = await VmMonitor.connect(path);
    expect(monitor.device.isOpen).toBe(true);
  });

  test('an address space shared with others, unless the lease is alone', async () => {
    await using shared = await BrokerFixture.start({ isolation: 'device-bounds' });
    const request = { memoryBytes: ramBytes, listen: { path: folder.freePath() } };
    const error = await shared.control.acquire(request).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'ISOLATION_UNAVAILABLE',
      hint: expect.stringContaining('exclusive'),
    });
    expect(existsSync(request.listen.path)).toBe(false);
    const alone: ListenRequest = { ...request, exclusive: true };
    await using lease = await shared.control.acquire(alone);
    expect(lease.record).toMatchObject({ isolation: 'exclusive', iovaBase: 0 });
    using monitor = await VmMonitor.connect(lease.path);
    await monitor.realize();
    using memory = guestMemory(ramBytes);
    await monitor.mapMemory(memory, ram);
    await expect(shared.control.acquire({ memoryBytes: 4096 })).rejects.toMatchObject({
      code: 'NO_FREE_SLICE',
    });
  });

  test.skipIf(!isRoot)('a peer of another user (needs root)', async () => {
    await using lease = await listen({ listen: { path: folder.freePath(), mode: 0o666 } });
    chmodSync(folder.path, 0o755);
    await using stranger = new VmProcess({ path: lease.path, uid: otherUid });
    await eventually('the end of its connection', () => stranger.failed);
    expect(lease.isConnected).toBe(false);
    // It took nothing: the monitor it is meant for comes after it.
    await using vm = new VmProcess({ path: lease.path });
    await vm.storesOn();
    expect(lease.isConnected).toBe(true);
  });
});
