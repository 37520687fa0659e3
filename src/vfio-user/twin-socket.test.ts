// The socket for commands of the server, both roles, against each other and against liars.
import { describe, expect, it } from 'vitest';
import { isLessorError, isOsError, isProtocolError, OsError } from '../base/errors.js';
import { systemClock } from '../os/clock.js';
import * as u from '../uapi/vfio-user.js';
import { connectVfioUser } from './client.js';
import { DmaTable } from './dma/table.js';
import { serveVfioUser } from './server.js';
import { TestEndpoint } from './testing/endpoint.js';
import { RawPeer, rawFrame } from './testing/raw-peer.js';
import { turns, until, type World, worlds } from './testing/world.js';
import { decodeVersion, encodeVersion, ownCapabilities } from './version.js';

const asking = { ...ownCapabilities, twinSocket: true };

describe.each(worlds)('twin socket %s', (_name, createWorld) => {
  function serve(world: World, twinSocket: World['sockets'] | undefined = world.sockets) {
    const endpoint = new TestEndpoint(world);
    const [near, far] = world.pair();
    const options = { clock: systemClock };
    const connection = serveVfioUser(
      far,
      endpoint,
      twinSocket === undefined ? options : { ...options, twinSocket },
    );
    return { endpoint, near, connection };
  }

  async function noLeak(world: World, endpoint: TestEndpoint): Promise<void> {
    await until(() => endpoint.closedCount === 1 && world.left().length === 0, 'no leak');
  }

  /** A raw client with its end of the twin socket. */
  async function openRaw(world: World) {
    const { endpoint, near, connection } = serve(world);
    const peer = new RawPeer(near);
    peer.send(u.VFIO_USER_VERSION, encodeVersion(1, asking));
    const reply = await peer.next();
    const { capabilities, twinFdIndex } = decodeVersion(reply.payload);
    expect([capabilities.twinSocket, twinFdIndex, reply.fds.length]).toEqual([true, 0, 1]);
    const [fd] = reply.fds;
    if (fd === undefined) throw new TypeError('no descriptor');
    const twin = new RawPeer(world.sockets.stream(fd));
    return { endpoint, peer, twin, connection };
  }

  it('carries the messages of the server and their replies, and nothing else does', async () => {
    const world = createWorld();
    const { endpoint, peer, twin } = await openRaw(world);
    const reading = endpoint.client?.dmaRead(0x1000n, 2);
    const ask = await twin.next();
    expect(ask.header.command).toBe(u.VFIO_USER_DMA_READ);
    const { messageId } = ask.header;
    twin.send(11, new Uint8Array([...ask.payload, 3, 4]), { messageId, flags: 1 });
    expect([...((await reading) ?? [])]).toEqual([3, 4]);
    expect(peer.received).toEqual([]);
    peer.close();
    await until(() => twin.ended, 'the end of both');
    twin.close();
    await noLeak(world, endpoint);
  });

  it('lets an answer pass requests that wait', async () => {
    const world = createWorld();
    const { endpoint, peer, twin, connection } = await openRaw(world);
    endpoint.before = (call) =>
      call.startsWith('read') ? endpoint.client?.dmaRead(0n, 1).then(() => {}) : undefined;
    const access = u.regionAccess.encode({ offset: 0, region: 0, count: 1 });
    for (let i = 0; i < 200; i++) peer.send(9, access);
    const first = await twin.next();
    await until(() => connection.pendingCount === 128, 'as many as ever');
    await turns();
    expect(connection.pendingCount).toBe(128);
    endpoint.before = () => {};
    const { messageId } = first.header;
    twin.send(11, new Uint8Array([...first.payload, 9]), { messageId, flags: 1 });
    await until(() => peer.received.length === 200, 'all read');
    peer.close();
    twin.close();
    await noLeak(world, endpoint);
  });

  it.each([
    ['a command', rawFrame(9, u.regionAccess.encode({ offset: 0, region: 0, count: 1 }))],
    ['a reply that nobody asked for', rawFrame(11, undefined, { flags: 1 })],
    ['nonsense', rawFrame(11, undefined, { messageSize: 3 })],
  ])('of the server ends the connection at %s', async (_what, bytes) => {
    const world = createWorld();
    const { endpoint, peer, twin } = await openRaw(world);
    twin.socket.send(bytes);
    await until(() => peer.ended && twin.ended, 'the end of both');
    expect(isProtocolError(endpoint.closedWith)).toBe(true);
    expect(endpoint.calls).toEqual([]);
    peer.close();
    twin.close();
    await noLeak(world, endpoint);
  });

  it('takes the memory of the client with it when the client closes it', async () => {
    const world = createWorld();
    const { endpoint, peer, twin } = await openRaw(world);
    const reading = endpoint.client?.dmaRead(0n, 1).catch((error: unknown) => error);
    await twin.next();
    twin.close();
    expect(isOsError(await reading, 'ECANCELED')).toBe(true);
    expect(await peer.ask(u.VFIO_USER_DEVICE_RESET)).toBe('ok');
    peer.close();
    await noLeak(world, endpoint);
    expect(endpoint.closedWith).toBeUndefined();
  });

  it.each([
    ['not asked for', ownCapabilities, true],
    ['not on offer', asking, false],
    ['without room for a descriptor', { ...asking, maxMsgFds: 0 }, true],
  ])('is not opened when %s', async (_what, capabilities, isOffered) => {
    const world = createWorld();
    const endpoint = new TestEndpoint(world);
    const [near, far] = world.pair();
    const options = isOffered ? { twinSocket: world.sockets } : {};
    serveVfioUser(far, endpoint, { clock: systemClock, ...options });
    const peer = new RawPeer(near);
    peer.send(u.VFIO_USER_VERSION, encodeVersion(1, capabilities));
    const { payload, fds } = await peer.next();
    expect(Buffer.from(payload).toString()).not.toContain('twin_socket');
    expect(fds).toEqual([]);
    const reading = endpoint.client?.dmaRead(0n, 1).catch(() => {});
    expect((await peer.next()).header.command).toBe(u.VFIO_USER_DMA_READ);
    peer.close();
    await reading;
    await noLeak(world, endpoint);
  });

  it('is not opened when the system has none', async () => {
    const world = createWorld();
    const pair = () => {
      throw new OsError('EMFILE', 'socketpair');
    };
    const { endpoint, near } = serve(world, { ...world.sockets, pair });
    const client = await connectVfioUser(near, {
      clock: systemClock,
      twinSocket: world.sockets,
    });
    expect(client.peer.twinSocket).toBe(false);
    client.close();
    await noLeak(world, endpoint);
  });

  it('works end to end', async () => {
    const world = createWorld();
    const { endpoint, near } = serve(world);
    const dma = new DmaTable();
    const options = { clock: systemClock, twinSocket: world.sockets, dma };
    const client = await connectVfioUser(near, options);
    expect(client.peer.twinSocket).toBe(true);
    await dma.map(client, { iova: 0n, bytes: Uint8Array.of(1, 2, 3) });
    endpoint.before = () => endpoint.client?.dmaWrite(1n, Uint8Array.of(8)).then(() => {});
    await client.read32(0, 0);
    expect([...dma.read(0n, 3)]).toEqual([1, 8, 3]);
    client.close();
    await noLeak(world, endpoint);
  });

  describe('of a lying server', () => {
    const say = (twin: unknown) =>
      new Uint8Array([
        ...[0, 0, 1, 0],
        ...Buffer.from(`{"capabilities":{"twin_socket":${JSON.stringify(twin)}}}\0`),
      ]);

    it.each([
      ['without index', say({ supported: true }), true, 1],
      ['with an index past its descriptors', say({ supported: true, fd_index: 1 }), true, 1],
      ['without a descriptor', say({ supported: true, fd_index: 0 }), true, 0],
      ['that nobody asked for', say({ supported: true, fd_index: 0 }), false, 0],
      ['that nobody asked for, with it', say({ supported: true, fd_index: 0 }), false, 1],
      ['not supported, but there', say({ supported: false, fd_index: 0 }), true, 1],
    ])('closes: %s', async (_what, payload, asks, fdCount) => {
      const world = createWorld();
      const [near, far] = world.pair();
      const server = new RawPeer(far);
      const options = asks ? { twinSocket: world.sockets } : {};
      const opening = connectVfioUser(near, { clock: systemClock, ...options }).then(
        () => undefined,
        (error: unknown) => error,
      );
      const { header } = await server.next();
      const fds = Array.from({ length: fdCount }, () => world.open('file'));
      server.send(1, payload, { flags: 1, messageId: header.messageId, fds });
      const error = await opening;
      const isExpected = isProtocolError(error) || isLessorError(error) || isOsError(error);
      expect(isExpected).toBe(true);
      await until(() => server.ended, 'the end');
      server.close();
      await until(() => world.left().length === 0, 'no leak');
    });

    it('ends at a descriptor that is no socket', async () => {
      const world = createWorld();
      const [near, far] = world.pair();
      const server = new RawPeer(far);
      const opening = connectVfioUser(near, {
        clock: systemClock,
        twinSocket: world.sockets,
      }).catch(() => undefined);
      const { header } = await server.next();
      const payload = say({ supported: true, fd_index: 0 });
      const fds = [world.open('file')];
      server.send(1, payload, { flags: 1, messageId: header.messageId, fds });
      const client = await opening;
      await until(() => server.ended, 'the end');
      expect(client?.isOpen ?? false).toBe(false);
      server.close();
      await until(() => world.left().length === 0, 'no leak');
    });

    it.each(['the client', 'the server'])('is closed when %s closes the other', async (who) => {
      const world = createWorld();
      const [near, far] = world.pair();
      const server = new RawPeer(far);
      const opening = connectVfioUser(near, { clock: systemClock, twinSocket: world.sockets });
      const { header } = await server.next();
      const [ours, theirs] = world.sockets.pair();
      const payload = say({ supported: true, fd_index: 0 });
      server.send(1, payload, { flags: 1, messageId: header.messageId, fds: [theirs] });
      const client = await opening;
      const twin = new RawPeer(world.sockets.stream(ours));
      if (who === 'the client') client.close();
      else server.close();
      await until(() => twin.ended && !client.isOpen, 'the end of both');
      twin.close();
      server.close();
      await until(() => world.left().length === 0, 'no leak');
    });

    it('keeps the one descriptor it was told of', async () => {
      const world = createWorld();
      const [near, far] = world.pair();
      const server = new RawPeer(far);
      const dma = new DmaTable();
      dma.add({ iova: 0n, bytes: Uint8Array.of(7) });
      const options = { clock: systemClock, twinSocket: world.sockets, dma };
      const opening = connectVfioUser(near, options);
      const { header } = await server.next();
      const [ours, theirs] = world.sockets.pair();
      const fds = [world.open('file0'), theirs, world.open('file1')];
      const payload = say({ supported: true, fd_index: 1 });
      server.send(1, payload, { flags: 1, messageId: header.messageId, fds });
      const client = await opening;
      await until(() => !world.left().some((name) => name.startsWith('file')), 'closed');
      const twin = new RawPeer(world.sockets.stream(ours));
      twin.send(11, u.dmaAccess.encode({ address: 0n, count: 1 }));
      expect([...(await twin.next()).payload.subarray(16)]).toEqual([7]);
      // Its end alone does not end the connection; nonsense on it does.
      twin.socket.send(rawFrame(11, undefined, { messageSize: 3 }));
      await until(() => !client.isOpen && server.ended, 'the end');
      twin.close();
      server.close();
      await until(() => world.left().length === 0, 'no leak');
    });
  });

  it('of a client that closes is closed', async () => {
    const world = createWorld();
    const { endpoint, near } = serve(world);
    const client = await connectVfioUser(near, {
      clock: systemClock,
      twinSocket: world.sockets,
    });
    client.close();
    await noLeak(world, endpoint);
  });
});
