// The server's requests to its client: what is sent, what a reply may be, what cancels them.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isLessorError, isOsError, isProtocolError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import * as u from '../../uapi/vfio-user.js';
import type { ClientMemory } from '../endpoint.js';
import { serveVfioUser, type VfioUserConnection } from '../server.js';
import { TestEndpoint } from '../testing/endpoint.js';
import { ManualClock } from '../testing/manual-clock.js';
import { RawPeer, type Received, verdict } from '../testing/raw-peer.js';
import { turns, until, type World, worlds } from '../testing/world.js';
import { encodeVersion, ownCapabilities } from '../version.js';

const { VFIO_USER_DMA_READ: read, VFIO_USER_DMA_WRITE: write } = u;
const unmapCommand = u.VFIO_USER_DMA_UNMAP;
const pageOf = (fill: number, count = 16) => new Uint8Array(count).fill(fill);

function unmap(address: bigint, size: bigint, flags = 0): Uint8Array {
  return u.dmaUnmap.encode({ argsz: 24, flags, address, size });
}

async function errorOf(promise: Promise<unknown> | undefined): Promise<unknown> {
  return promise?.then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe.each(worlds)('messages to the client %s', (_name, createWorld) => {
  let world: World;
  let clock: ManualClock;
  let endpoint: TestEndpoint;
  let peer: RawPeer;
  let connection: VfioUserConnection;
  let client: ClientMemory;

  async function start(maxDataXferBytes = 1_048_576): Promise<void> {
    world = createWorld();
    clock = new ManualClock();
    endpoint = new TestEndpoint(world);
    const [near, far] = world.pair();
    connection = serveVfioUser(far, endpoint, { clock });
    peer = new RawPeer(near);
    expect(endpoint.client).toBeUndefined();
    const version = encodeVersion(1, { ...ownCapabilities, maxDataXferBytes });
    expect(await peer.ask(u.VFIO_USER_VERSION, version)).toBe('ok');
    client = endpoint.client as ClientMemory;
  }

  beforeEach(() => start());

  async function finish(): Promise<void> {
    peer.close();
    await until(() => endpoint.closedCount === 1 && world.left().length === 0, 'no leak');
    expect(clock.timerCount).toBe(0);
  }

  afterEach(finish);

  async function restart(maxDataXferBytes: number): Promise<void> {
    await finish();
    await start(maxDataXferBytes);
  }

  function reply({ header, payload }: Received, data: Uint8Array = new Uint8Array(0)): void {
    const echo = payload.subarray(0, 16);
    const { messageId } = header;
    peer.send(header.command, new Uint8Array([...echo, ...data]), { messageId, flags: 1 });
  }

  function fail({ header }: Received, errno: number): void {
    peer.send(header.command, undefined, { messageId: header.messageId, flags: 0x21, errno });
  }

  const accessOf = ({ payload }: Received) => {
    const { address, count } = u.dmaAccess.decodeAt(payload, 0);
    return [Number(address), count];
  };

  it('reads', async () => {
    const reading = client.dmaRead(0x1234_5678_9000n, 16);
    const ask = await peer.next();
    expect(ask.header).toMatchObject({ command: read, messageSize: 32, flags: 0, errno: 0 });
    expect(u.dmaAccess.decode(ask.payload)).toEqual({ address: 0x1234_5678_9000n, count: 16 });
    reply(ask, pageOf(7));
    expect([...(await reading)]).toEqual([...pageOf(7)]);
  });

  it('writes what the bytes were when it was called', async () => {
    const bytes = pageOf(1, 8);
    const writing = client.dmaWrite(0x1000n, bytes);
    bytes.fill(9);
    const ask = await peer.next();
    expect(ask.header).toMatchObject({ command: write, messageSize: 40 });
    expect([...ask.payload.subarray(16)]).toEqual([...pageOf(1, 8)]);
    reply(ask);
    await writing;
  });

  it('move nothing without a message', async () => {
    expect(await client.dmaRead(0n, 0)).toHaveLength(0);
    await client.dmaWrite(0n, new Uint8Array(0));
    await turns();
    expect(peer.received).toEqual([]);
  });

  it.each([
    ['past 2^64', (1n << 64n) - 1n, 2],
    ['at a negative address', -1n, 2],
    ['of half a byte', 0n, 0.5],
    ['of less than nothing', 0n, -1],
  ])('refuse a range %s', async (_what, iova, lengthBytes) => {
    const error = await errorOf(client.dmaRead(iova, lengthBytes));
    expect(isLessorError(error, 'INVALID_ARGUMENT')).toBe(true);
  });

  it('reach the last byte', async () => {
    const reading = client.dmaRead((1n << 64n) - 1n, 1);
    reply(await peer.next(), pageOf(3, 1));
    expect([...(await reading)]).toEqual([3]);
  });

  it('are split at what the client takes', async () => {
    await restart(10);
    const reading = client.dmaRead(100n, 25);
    const writing = client.dmaWrite(
      200n,
      Uint8Array.from({ length: 11 }, (_, index) => index),
    );
    const asks: Received[] = [];
    for (let i = 0; i < 5; i++) asks.push(await peer.next());
    expect(asks.map(accessOf)).toEqual([
      [100, 10],
      [110, 10],
      [120, 5],
      [200, 10],
      [210, 1],
    ]);
    expect([...(asks[4]?.payload.subarray(16) ?? [])]).toEqual([10]);
    // Whatever the order of the answers.
    for (const [index, count] of [
      [2, 5],
      [0, 10],
      [1, 10],
    ] as const) {
      reply(asks[index] as Received, pageOf(index, count));
    }
    expect([...(await reading)]).toEqual([...pageOf(0, 10), ...pageOf(1, 10), ...pageOf(2, 5)]);
    reply(asks[4] as Received);
    reply(asks[3] as Received);
    await writing;
  });

  it('fail with the errno of the client, which stays', async () => {
    const reading = errorOf(client.dmaRead(0n, 4));
    fail(await peer.next(), 19);
    expect(isOsError(await reading, 'ENODEV')).toBe(true);
    const writing = errorOf(client.dmaWrite(0n, pageOf(1)));
    fail(await peer.next(), 0);
    expect(isOsError(await writing, 'EIO')).toBe(true);
    expect(connection.isOpen).toBe(true);
  });

  it('fail whole when a part fails, and send no further part', async () => {
    await restart(1);
    const reading = errorOf(client.dmaRead(0n, limits.vfioUserDmaMessagesMax + 5));
    const first = await peer.next();
    fail(first, 14);
    expect(isOsError(await reading, 'EFAULT')).toBe(true);
    const rest = limits.vfioUserDmaMessagesMax - 1;
    await until(() => peer.received.length === rest, 'what was sent before');
    await turns();
    expect(peer.received).toHaveLength(rest);
    for (const ask of peer.received.splice(0)) reply(ask, pageOf(1, 1));
    await turns();
    expect(connection.isOpen).toBe(true);
  });

  describe('a reply', () => {
    const echo = (address: bigint, count: number, dataBytes: number) =>
      new Uint8Array([...u.dmaAccess.encode({ address, count }), ...pageOf(1, dataBytes)]);

    it.each([
      ['is short', echo(64n, 4, 3)],
      ['is long', echo(64n, 4, 5)],
      ['is a header alone', new Uint8Array(0)],
      ['has another address', echo(65n, 4, 4)],
      ['has another count', echo(64n, 3, 4)],
    ])('to a read that %s ends the connection', async (_what, payload) => {
      const reading = errorOf(client.dmaRead(64n, 4));
      const { header } = await peer.next();
      peer.send(read, payload, { messageId: header.messageId, flags: 1 });
      expect(isOsError(await reading, 'ECANCELED') || isProtocolError(await reading)).toBe(true);
      await until(() => peer.ended, 'the end');
      expect(isProtocolError(endpoint.closedWith)).toBe(true);
    });

    it.each([
      ['is a header alone', new Uint8Array(0)],
      ['has another address', echo(65n, 4, 0)],
      ['has another count', echo(64n, 5, 0)],
    ])('to a write that %s ends the connection', async (_what, payload) => {
      const writing = errorOf(client.dmaWrite(64n, pageOf(1, 4)));
      const { header } = await peer.next();
      peer.send(write, payload, { messageId: header.messageId, flags: 1 });
      expect(await writing).toBeInstanceOf(Error);
      await until(() => peer.ended, 'the end');
      expect(isProtocolError(endpoint.closedWith)).toBe(true);
    });

    it('with a descriptor ends the connection', async () => {
      const reading = errorOf(client.dmaRead(64n, 4));
      const { header } = await peer.next();
      const changes = { messageId: header.messageId, flags: 1, fds: [world.open('file')] };
      peer.send(read, echo(64n, 4, 4), changes);
      expect(await reading).toBeInstanceOf(Error);
      await until(() => peer.ended, 'the end');
      expect(isLessorError(endpoint.closedWith, 'FD_UNEXPECTED')).toBe(true);
    });

    it('that does not come is DEADLINE_EXCEEDED; a late one is dropped', async () => {
      const reading = errorOf(client.dmaRead(64n, 4));
      const ask = await peer.next();
      clock.advance(limits.vfioUserDmaDeadlineMs - 1);
      await turns();
      clock.advance(1);
      expect(isLessorError(await reading, 'DEADLINE_EXCEEDED')).toBe(true);
      peer.send(read, pageOf(0, 3), { messageId: ask.header.messageId, flags: 1 });
      await turns();
      expect(connection.isOpen).toBe(true);
    });
  });

  describe('limits', () => {
    it('hold messages back until others were answered', async () => {
      await restart(1);
      const max = limits.vfioUserDmaMessagesMax;
      const reading = client.dmaRead(0n, max + 1);
      await until(() => peer.received.length === max, 'all that may');
      await turns();
      expect(peer.received).toHaveLength(max);
      reply(await peer.next(), pageOf(1, 1));
      await until(() => peer.received.length === max, 'one more');
      for (const ask of peer.received.splice(0)) reply(ask, pageOf(1, 1));
      expect([...(await reading)]).toEqual([...pageOf(1, max + 1)]);
    });

    it('hold bytes back, and write what they were', async () => {
      const mebibyte = 1_048_576;
      const bytes = pageOf(5, limits.vfioUserDmaWireBytesMax + mebibyte);
      const writing = client.dmaWrite(0n, bytes);
      bytes.fill(6);
      const fit = limits.vfioUserDmaWireBytesMax / mebibyte;
      await until(() => peer.received.length === fit, 'all that may');
      await turns();
      expect(peer.received).toHaveLength(fit);
      for (const ask of peer.received.splice(0)) reply(ask);
      const last = await peer.next();
      expect([last.payload[16], last.payload.at(-1)]).toEqual([5, 5]);
      reply(last);
      await writing;
    });

    it('refuse more bytes than may wait', async () => {
      const most = errorOf(client.dmaRead(0n, limits.vfioUserDmaBytesMax));
      const error = await errorOf(client.dmaRead(0n, 1));
      expect(isLessorError(error, 'QUEUE_FULL')).toBe(true);
      connection.close();
      expect(isOsError(await most, 'ECANCELED')).toBe(true);
    });

    it('refuse more bytes than may wait at once', async () => {
      const error = await errorOf(client.dmaRead(0n, limits.vfioUserDmaBytesMax + 1));
      expect(isLessorError(error, 'QUEUE_FULL')).toBe(true);
    });

    it('refuse to ask a client that answers nothing', async () => {
      const perRound = limits.vfioUserDmaMessagesMax;
      const rounds = limits.vfioUserDmaUnansweredMax / perRound;
      for (let round = 0; round < rounds; round++) {
        const asked = Array.from({ length: perRound }, () => errorOf(client.dmaRead(0n, 1)));
        clock.advance(limits.vfioUserDmaDeadlineMs);
        for (const error of await Promise.all(asked)) {
          expect(isLessorError(error, 'DEADLINE_EXCEEDED')).toBe(true);
        }
      }
      expect(isLessorError(await errorOf(client.dmaRead(0n, 1)), 'QUEUE_FULL')).toBe(true);
      await until(() => peer.received.length === rounds * perRound, 'all asked');
      reply(await peer.next(), pageOf(1, 1));
      await turns();
      const reading = client.dmaRead(0n, 1);
      await until(() => peer.received.length === rounds * perRound, 'asked again');
      reply(peer.received.at(-1) as Received, pageOf(2, 1));
      expect([...(await reading)]).toEqual([2]);
    });
  });

  describe('are cancelled', () => {
    /** A handler that reads memory by message before it answers, and fails as that fails. */
    function readInHandler(iova: bigint, lengthBytes: number): Promise<unknown>[] {
      const reads: Promise<unknown>[] = [];
      endpoint.before = (call) => {
        if (!call.startsWith('read')) return undefined;
        const reading = client.dmaRead(iova, lengthBytes);
        reads.push(errorOf(reading));
        return reading.then(() => {});
      };
      return reads;
    }

    const region = u.regionAccess.encode({ offset: 0, region: 0, count: 4 });

    it.each([
      ['a DMA_UNMAP of the range', unmapCommand, unmap(0x1000n, 0x1000n), 'unmap 4096 4096'],
      ['a DMA_UNMAP that touches it', unmapCommand, unmap(0x1fffn, 1n), 'unmap 8191 1'],
      ['a DMA_UNMAP of all', unmapCommand, unmap(0n, 0n, 2), 'unmap all'],
      ['a DEVICE_RESET', u.VFIO_USER_DEVICE_RESET, undefined, 'reset'],
    ])('by %s, which waits behind the handler', async (_what, command, payload, call) => {
      const reads = readInHandler(0x1800n, 0x800);
      peer.send(u.VFIO_USER_REGION_READ, region, { messageId: 1 });
      const ask = await peer.next();
      expect(ask.header.command).toBe(read);
      peer.send(command, payload, { messageId: 2 });
      const answers = [await peer.next(), await peer.next()];
      const seen = answers.map((answer) => [answer.header.messageId, verdict(answer)]);
      expect(seen).toEqual([
        [1, 'ECANCELED'],
        [2, 'ok'],
      ]);
      expect(isOsError(await reads[0], 'ECANCELED')).toBe(true);
      expect(endpoint.calls).toEqual(['read 0 0 4', call]);
      // The late reply is nobody's, however wrong.
      reply(ask, pageOf(1, 3));
      await turns();
      expect(connection.isOpen).toBe(true);
    });

    it.each([
      ['of other memory', unmapCommand, unmap(0x2000n, 0x1000n)],
      ['before it', unmapCommand, unmap(0n, 0x1800n)],
      ['that is malformed', unmapCommand, unmap(0n, 0n)],
    ])('not by a DMA_UNMAP %s', async (_what, command, payload) => {
      const reads = readInHandler(0x1800n, 4);
      peer.send(u.VFIO_USER_REGION_READ, region, { messageId: 1 });
      const ask = await peer.next();
      peer.send(command, payload, { messageId: 2 });
      await turns();
      reply(ask, pageOf(1, 4));
      expect(verdict(await peer.next())).toBe('ok');
      await peer.next();
      expect(await Promise.all(reads)).toEqual([undefined]);
    });

    it('not by a DEVICE_RESET with a payload', async () => {
      const reads = readInHandler(0x1800n, 4);
      peer.send(u.VFIO_USER_REGION_READ, region, { messageId: 1 });
      const ask = await peer.next();
      peer.send(u.VFIO_USER_DEVICE_RESET, pageOf(0, 1), { messageId: 2 });
      await turns();
      reply(ask, pageOf(1, 4));
      expect(verdict(await peer.next())).toBe('ok');
      expect(verdict(await peer.next())).toBe('EINVAL');
      expect(await Promise.all(reads)).toEqual([undefined]);
    });

    it('and none is asked for there until the unmap was answered', async () => {
      let done = (): void => {};
      endpoint.before = () =>
        new Promise((resolve) => {
          done = resolve;
        });
      peer.send(unmapCommand, unmap(0x1000n, 0x1000n));
      await until(() => endpoint.calls.length === 1, 'running');
      const error = await errorOf(client.dmaRead(0x1fffn, 1));
      expect(isOsError(error, 'ECANCELED')).toBe(true);
      const other = client.dmaRead(0x2000n, 1);
      reply(await peer.next(), pageOf(1, 1));
      await other;
      done();
      expect(verdict(await peer.next())).toBe('ok');
      const again = client.dmaRead(0x1fffn, 1);
      reply(await peer.next(), pageOf(1, 1));
      await again;
    });

    it('by the fence, before the handler is answered for', async () => {
      const reads = readInHandler(0n, 4);
      peer.send(u.VFIO_USER_REGION_READ, region, { messageId: 1 });
      await peer.next();
      connection.fence('ENODEV');
      expect(verdict(await peer.next())).toBe('ENODEV');
      expect(isOsError(await reads[0], 'ECANCELED')).toBe(true);
      expect(isOsError(await errorOf(client.dmaWrite(0n, pageOf(1))), 'ECANCELED')).toBe(true);
    });

    it.each([
      ['close', () => connection.close()],
      ['the end of the stream', () => peer.close()],
    ])('by %s', async (_what, end) => {
      const reading = errorOf(client.dmaRead(0n, 4));
      const waiting = errorOf(client.dmaRead(0n, limits.vfioUserDmaBytesMax - 4));
      await peer.next();
      end();
      expect(isOsError(await reading, 'ECANCELED')).toBe(true);
      expect(isOsError(await waiting, 'ECANCELED')).toBe(true);
      expect(isOsError(await errorOf(client.dmaRead(0n, 4)), 'ECANCELED')).toBe(true);
    });
  });

  describe('while requests of the client wait', () => {
    const posted = { flags: 0x10 };
    const writeAccess = (count: number) => {
      const payload = new Uint8Array(16 + count);
      u.regionAccess.encodeAt({ offset: 0, region: 2, count }, payload, 0);
      return payload;
    };

    it('still get their answer from behind them', async () => {
      endpoint.before = (call) =>
        call.startsWith('read') ? client.dmaRead(0n, 4).then(() => {}) : undefined;
      peer.send(9, u.regionAccess.encode({ offset: 0, region: 0, count: 4 }), { messageId: 1 });
      const ask = await peer.next();
      const count = limits.vfioUserPendingMax * 2;
      for (let i = 0; i < count; i++) peer.send(10, writeAccess(4), posted);
      reply(ask, pageOf(1, 4));
      expect(verdict(await peer.next())).toBe('ok');
      await until(() => endpoint.calls.length === count + 1, 'all written');
    });

    it.each([
      ['count', 4, limits.vfioUserPendingDuringDmaMax - 1],
      ['bytes', 1_048_576, limits.vfioUserPendingBytesDuringDmaMax / 1_048_576],
    ])('stop reading at the limit of their %s all the same', async (_what, bytes, fit) => {
      endpoint.before = (call) =>
        call.startsWith('read') ? client.dmaRead(0n, 4).then(() => {}) : undefined;
      peer.send(9, u.regionAccess.encode({ offset: 0, region: 0, count: 4 }), { messageId: 1 });
      await peer.next();
      for (let i = 0; i < fit + 3; i++) {
        peer.send(10, writeAccess(bytes), posted);
        const wanted = Math.min(i + 1, fit) + 1;
        if (bytes > 4 || i % 64 === 0) {
          await until(() => connection.pendingCount === wanted, `${wanted} pending`);
        }
      }
      await until(() => connection.pendingCount === fit + 1, 'full');
      await turns();
      expect(connection.pendingCount).toBe(fit + 1);
      clock.advance(limits.vfioUserDmaDeadlineMs);
      expect(verdict(await peer.next())).toBe('ETIMEDOUT');
      await until(() => endpoint.calls.length === fit + 4, 'all written');
    });

    it('stop reading at the limit of their descriptors', async () => {
      let done = (): void => {};
      const slow = new Promise<void>((resolve) => {
        done = resolve;
      });
      endpoint.before = () => slow;
      peer.send(9, u.regionAccess.encode({ offset: 0, region: 0, count: 4 }));
      const payload = u.irqSet.encode({ argsz: 20, flags: 0x24, index: 2, start: 0, count: 16 });
      const fit = limits.vfioUserPendingFdsMax / 16;
      for (let i = 0; i < fit + 2; i++) {
        const fds = Array.from({ length: 16 }, () => world.open('file'));
        peer.send(8, payload, { fds });
      }
      await until(() => connection.pendingCount === fit + 1, 'full');
      await turns();
      expect(connection.pendingCount).toBe(fit + 1);
      done();
      await until(() => endpoint.calls.length === fit + 3, 'all bound');
    });
  });
});
