// The life of a connection: what ends it, order, back-pressure, the fence, who owns what.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AssertionFailure, LessorError, OsError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { systemClock } from '../os/clock.js';
import { closeAll, type Fd } from '../os/fd.js';
import { aheadBytesMax } from '../os/receive.js';
import type { StreamHandler } from '../os/socket-types.js';
import * as u from '../uapi/vfio-user.js';
import { serveVfioUser, type VfioUserConnection } from './server.js';
import { TestEndpoint } from './testing/endpoint.js';
import type { PipeSocket } from './testing/pipe.js';
import { type FrameChanges, RawPeer, rawFrame, verdict } from './testing/raw-peer.js';
import { turns, until, type World, worlds } from './testing/world.js';
import { encodeVersion, ownCapabilities } from './version.js';

const info = u.deviceInfo.encode({ argsz: 16, flags: 0, numRegions: 0, numIrqs: 0 });
const version = encodeVersion(1, ownCapabilities);

function access(offset: number, count: number, data = 0, region = 0): Uint8Array {
  const payload = new Uint8Array(16 + data);
  u.regionAccess.encodeAt({ offset, region, count }, payload, 0);
  return payload;
}

function map(address: bigint): Uint8Array {
  return u.dmaMap.encode({ argsz: 32, flags: 3, offset: 0n, address, size: 0x1000n });
}

function bind(count: number): Uint8Array {
  return u.irqSet.encode({ argsz: 20, flags: 0x24, index: 2, start: 0, count });
}

/** A promise and its switch. */
function gate(): { open: () => void; passed: Promise<void> } {
  let open = (): void => {};
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, passed };
}

describe.each(worlds)('server connection %s', (_name, createWorld) => {
  let world: World;
  let endpoint: TestEndpoint;
  let peer: RawPeer;
  let far: PipeSocket;
  let connection: VfioUserConnection;
  let bugs: unknown[];

  beforeEach(() => {
    world = createWorld();
    endpoint = new TestEndpoint(world);
    bugs = [];
    const [near, other] = world.pair();
    far = other as PipeSocket;
    const onBug = (error: unknown) => bugs.push(error);
    connection = serveVfioUser(far, endpoint, { clock: systemClock, onBug });
    peer = new RawPeer(near);
  });

  afterEach(async () => {
    peer.close();
    await until(() => endpoint.closedCount === 1 && world.left().length === 0, 'no leak');
    expect(connection.isOpen).toBe(false);
  });

  function files(count: number): Fd[] {
    return Array.from({ length: count }, (_, index) => world.open(`file${index}`));
  }

  describe('ends', () => {
    /** The server must close without a word, and tell the endpoint why. */
    async function expectEnd(bytes: Uint8Array, fds: Fd[] = []): Promise<void> {
      peer.socket.send(bytes, fds);
      await until(() => peer.ended, 'the end');
      expect(peer.received).toEqual([]);
      expect(endpoint.closedWith).toBeInstanceOf(Error);
      expect(endpoint.calls).toEqual([]);
      expect(bugs).toEqual([]);
    }

    it.each([
      ['a size under 16', 4, { messageSize: 15 }],
      ['a size over the limit', 4, { messageSize: limits.vfioUserMessageBytesMax + 1 }],
      ['a bad type', 4, { flags: 3 }],
      ['a reply that nobody asked for', 4, { flags: 1 }],
      ['an error reply that nobody asked for', 4, { flags: 0x21 }],
    ])('at %s', async (_what, command, changes) => {
      await peer.negotiate();
      await expectEnd(rawFrame(command, info, changes));
    });

    it.each([1, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 15, 16, 17, 18])(
      'at a descriptor with command %i',
      async (command) => {
        await peer.negotiate();
        await expectEnd(rawFrame(command, info), files(1));
      },
    );

    it('at a descriptor with a payload', async () => {
      await peer.negotiate();
      const bytes = rawFrame(2, map(0n));
      peer.socket.send(bytes.subarray(0, 20));
      await turns();
      await expectEnd(bytes.subarray(20), files(1));
    });

    it('at more descriptors than the limit', async () => {
      await peer.negotiate();
      expect(await peer.ask(8, bind(16), { fds: files(16) })).toBe('ok');
      endpoint.calls.length = 0;
      await expectEnd(rawFrame(8, bind(17)), files(17));
    });

    it.each([2, 4, 13, 99])('when the first message is command %i', async (command) => {
      await expectEnd(rawFrame(command, info));
    });

    it.each([
      ['of another major version', Uint8Array.of(1, 0, 0, 0), {}],
      ['that is short', Uint8Array.of(0, 0, 0), {}],
      ['with bad JSON', new Uint8Array([0, 0, 0, 0, 0x7b, 0]), {}],
      ['with an unknown flag', version, { flags: 0x80 }],
      ['with an errno', version, { errno: 1 }],
    ] as [string, Uint8Array, FrameChanges][])(
      'after EINVAL, at a VERSION %s',
      async (_what, payload, changes) => {
        expect(await peer.ask(u.VFIO_USER_VERSION, payload, changes)).toBe('EINVAL');
        await until(() => peer.ended, 'the end');
        expect(endpoint.closedWith).toBeInstanceOf(Error);
      },
    );

    it('after EINVAL, at a VERSION with a descriptor', async () => {
      expect(await peer.ask(u.VFIO_USER_VERSION, version, { fds: files(1) })).toBe('EINVAL');
      await until(() => peer.ended, 'the end');
    });

    it('without answer at a bad VERSION that wants none', async () => {
      await expectEnd(rawFrame(u.VFIO_USER_VERSION, version, { flags: 0x10 }));
    });

    it('at the end of the stream, also within a message', async () => {
      await peer.negotiate();
      peer.socket.send(rawFrame(2, map(0n)).subarray(0, 30), files(1));
      await turns();
      peer.close();
      await until(() => endpoint.closedCount === 1, 'closed');
      expect(endpoint.closedWith).toBeUndefined();
    });

    it('when told to, once', () => {
      connection.close();
      connection.close();
      expect([endpoint.closedCount, endpoint.closedWith]).toEqual([1, undefined]);
    });
  });

  describe('VERSION', () => {
    it('is answered with our capabilities', async () => {
      peer.send(u.VFIO_USER_VERSION, version, { messageId: 12 });
      const { header, payload } = await peer.next();
      expect([header.messageId, header.flags]).toEqual([12, 1]);
      const json = Buffer.from(payload.subarray(4)).toString();
      expect([...payload.subarray(0, 4)]).toEqual([0, 0, 1, 0]);
      expect(json.endsWith('}\0')).toBe(true);
      expect(JSON.parse(json.slice(0, -1))).toEqual({
        capabilities: {
          max_msg_fds: 16,
          max_data_xfer_size: 1_048_576,
          max_dma_maps: 65_535,
          pgsizes: 4096,
          write_multiple: true,
        },
      });
      expect(connection.peer).toEqual(ownCapabilities);
    });

    it('fits in the room of what QEMU proposes', async () => {
      const text =
        '{"capabilities": {"migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, ' +
        '"max_msg_fds": 16, "max_data_xfer_size": 1048576, "max_dma_maps": 65535, ' +
        '"pgsizes": 4096, "write_multiple": true}}\0';
      const proposal = new Uint8Array([0, 0, 0, 0, ...Buffer.from(text)]);
      peer.send(u.VFIO_USER_VERSION, proposal);
      const { payload } = await peer.next();
      expect(payload.length).toBeLessThanOrEqual(proposal.length);
      expect([...payload.subarray(0, 4)]).toEqual([0, 0, 0, 0]);
    });

    it('of few words is answered with few', async () => {
      const text = '{"capabilities":{"max_msg_fds":1}}\0';
      peer.send(u.VFIO_USER_VERSION, new Uint8Array([0, 0, 1, 0, ...Buffer.from(text)]));
      const { payload } = await peer.next();
      const answer = '{"capabilities":{"max_msg_fds":16}}\0';
      expect(Buffer.from(payload.subarray(4)).toString()).toBe(answer);
    });

    it('takes JSON of the limit, and one byte more is EINVAL', async () => {
      const sized = (bytes: number) => {
        const text = `{"x":"${'y'.repeat(bytes - 9)}"}\0`;
        expect(text.length).toBe(bytes);
        return new Uint8Array([0, 0, 1, 0, ...Buffer.from(text)]);
      };
      const max = limits.vfioUserVersionBytesMax;
      expect(await peer.ask(u.VFIO_USER_VERSION, sized(max))).toBe('ok');
      const [near, other] = world.pair();
      const second = new TestEndpoint(world);
      serveVfioUser(other, second, { clock: systemClock });
      const secondPeer = new RawPeer(near);
      expect(await secondPeer.ask(u.VFIO_USER_VERSION, sized(max + 1))).toBe('EINVAL');
      await until(() => secondPeer.ended && second.closedCount === 1, 'the end');
      secondPeer.close();
    });

    it('of a client that takes no descriptors gets none', async () => {
      const payload = encodeVersion(1, { ...ownCapabilities, maxMsgFds: 0 });
      expect(await peer.ask(u.VFIO_USER_VERSION, payload)).toBe('ok');
      const value = { argsz: 4096, flags: 0, index: 0, capOffset: 0, size: 0, offset: 0 };
      peer.send(5, u.regionInfo.encode(value));
      const reply = await peer.next();
      expect(u.regionInfo.decode(reply.payload)).toMatchObject({ flags: 3, argsz: 32 });
      expect(reply.fds).toEqual([]);
    });
  });

  describe('order', () => {
    it('is that of arrival, one handler at a time', async () => {
      await peer.negotiate();
      const gates = [gate(), gate(), gate()];
      let running = 0;
      endpoint.before = async () => {
        expect(++running).toBe(1);
        await gates[endpoint.calls.length - 1]?.passed;
        running--;
      };
      for (const id of [0, 1, 2]) peer.send(9, access(id, 1), { messageId: id });
      peer.send(4, info, { messageId: 3 });
      await until(() => connection.pendingCount === 4, 'pending');
      expect(endpoint.calls).toEqual(['read 0 0 1']);
      gates[2]?.open();
      gates[1]?.open();
      await turns();
      expect(peer.received).toEqual([]);
      gates[0]?.open();
      const ids: number[] = [];
      for (let i = 0; i < 4; i++) ids.push((await peer.next()).header.messageId);
      expect(ids).toEqual([0, 1, 2, 3]);
      expect(endpoint.calls).toEqual(['read 0 0 1', 'read 0 1 1', 'read 0 2 1']);
      expect(connection.pendingCount).toBe(0);
    });

    it('holds when a slow handler fails', async () => {
      await peer.negotiate();
      endpoint.before = async (call) => {
        await turns(2);
        if (call === 'read 0 1 1') throw new LessorError('LEASE_NOT_ENABLED', 'x');
      };
      for (const id of [0, 1, 2]) peer.send(9, access(id, 1), { messageId: id });
      const seen: string[] = [];
      for (let i = 0; i < 3; i++) {
        const reply = await peer.next();
        seen.push(`${reply.header.messageId} ${verdict(reply)}`);
      }
      expect(seen).toEqual(['0 ok', '1 EAGAIN', '2 ok']);
    });

    it('stops reading at the limit of pending requests, and goes on below it', async () => {
      await peer.negotiate();
      const slow = gate();
      endpoint.before = () => slow.passed;
      const moreCount = aheadBytesMax / 32 + 5;
      const count = limits.vfioUserPendingMax + moreCount;
      for (let id = 0; id < count; id++) peer.send(9, access(0, 1), { messageId: id });
      await until(() => connection.pendingCount === limits.vfioUserPendingMax, 'full');
      await turns();
      expect(connection.pendingCount).toBe(limits.vfioUserPendingMax);
      expect(connection.isOpen).toBe(true);
      // Those that one read took with the last that fits are held, none of them handed on.
      if (far.unreadBytes !== undefined) {
        expect(far.unreadBytes).toBeGreaterThanOrEqual(moreCount * 32 - aheadBytesMax);
      }
      slow.open();
      for (let id = 0; id < count; id++) expect((await peer.next()).header.messageId).toBe(id);
      expect(endpoint.calls).toHaveLength(count);
    });

    it('stops reading at the limit of pending bytes', async () => {
      await peer.negotiate();
      const slow = gate();
      endpoint.before = () => slow.passed;
      // With its fixed part of 16 bytes, so that the sum is at the limit and not past it.
      const payloadBytes = 1_048_576;
      const dataBytes = payloadBytes - 16;
      const fit = limits.vfioUserPendingBytesMax / payloadBytes;
      // The first runs and does not count; of those that wait, the one at the limit is the last.
      const count = fit + 4;
      for (let id = 0; id < count; id++) {
        peer.send(10, access(0, dataBytes, dataBytes, 2), { messageId: id });
        const wanted = Math.min(id, fit) + 1;
        await until(() => connection.pendingCount === wanted, `${wanted} pending`);
      }
      await turns();
      expect(connection.pendingCount).toBe(fit + 1);
      slow.open();
      for (let id = 0; id < count; id++) expect((await peer.next()).header.messageId).toBe(id);
    });
  });

  describe('fence', () => {
    it('answers the running request, the waiting ones and all that come', async () => {
      await peer.negotiate();
      const slow = gate();
      endpoint.before = () => slow.passed;
      peer.send(9, access(0, 1), { messageId: 0 });
      peer.send(2, map(0n), { messageId: 1, fds: files(1) });
      peer.send(10, access(0, 4, 4), { messageId: 2, flags: 0x10 });
      peer.send(8, bind(2), { messageId: 3, fds: files(2) });
      await until(() => connection.pendingCount === 4, 'pending');
      connection.fence('ENODEV');
      peer.send(4, info, { messageId: 4 });
      peer.send(2, map(0n), { messageId: 5, fds: files(1) });
      for (const id of [0, 1, 3, 4, 5]) {
        const reply = await peer.next();
        expect([reply.header.messageId, verdict(reply)]).toEqual([id, 'ENODEV']);
      }
      expect(world.left().filter((name) => name.startsWith('file'))).toEqual([]);
      slow.open();
      await turns();
      expect(peer.received).toEqual([]);
      expect(endpoint.calls).toEqual(['read 0 0 1']);
      expect(connection.isOpen).toBe(true);
      expect(await peer.ask(13)).toBe('ENODEV');
    });

    it('keeps its first errno', async () => {
      await peer.negotiate();
      connection.fence('ENODEV');
      connection.fence('EIO');
      expect(await peer.ask(4, info)).toBe('ENODEV');
    });

    it('answers a request from within whose handler it was raised', async () => {
      await peer.negotiate();
      endpoint.before = () => connection.fence('ENODEV');
      expect(await peer.ask(9, access(0, 1))).toBe('ENODEV');
      await turns();
      expect(peer.received).toEqual([]);
    });

    it('reads on where too many requests were pending', async () => {
      await peer.negotiate();
      endpoint.before = () => new Promise(() => {});
      const count = limits.vfioUserPendingMax + 2;
      for (let id = 0; id < count; id++) peer.send(9, access(0, 1), { messageId: id });
      await until(() => connection.pendingCount === limits.vfioUserPendingMax, 'full');
      connection.fence('ENODEV');
      for (let id = 0; id < count; id++) {
        const reply = await peer.next();
        expect([reply.header.messageId, verdict(reply)]).toEqual([id, 'ENODEV']);
      }
    });

    it('stands before VERSION too, and framing errors still end the connection', async () => {
      connection.fence('ENODEV');
      expect(await peer.ask(u.VFIO_USER_VERSION, version)).toBe('ENODEV');
      peer.socket.send(rawFrame(4, info, { messageSize: 3 }));
      await until(() => peer.ended, 'the end');
    });
  });

  describe('descriptors', () => {
    it('that a running handler took stay its own when the connection ends', async () => {
      await peer.negotiate();
      const slow = gate();
      endpoint.before = () => slow.passed;
      peer.send(2, map(0n), { fds: files(1) });
      peer.send(2, map(0x1000n), { fds: files(1) });
      await until(() => connection.pendingCount === 2, 'pending');
      const [held] = endpoint.held;
      connection.close();
      expect(held?.isOpen).toBe(false);
      expect(endpoint.calls).toHaveLength(1);
      slow.open();
      await turns();
      expect(endpoint.calls).toHaveLength(1);
    });

    it('of a message that waits are closed when the connection ends', async () => {
      await peer.negotiate();
      endpoint.before = () => new Promise(() => {});
      peer.send(9, access(0, 1));
      for (let i = 0; i < 3; i++) peer.send(8, bind(2), { fds: files(2) });
      await until(() => connection.pendingCount === 4, 'pending');
      peer.close();
      await until(() => endpoint.closedCount === 1, 'closed');
      expect(world.left()).toEqual([]);
    });
  });

  describe('a bug of the endpoint', () => {
    it.each([
      [
        'thrown',
        () => {
          throw new AssertionFailure('ours');
        },
      ],
      ['rejected', () => Promise.reject(new AssertionFailure('ours'))],
    ])('%s ends the connection and is told', async (_what, before) => {
      await peer.negotiate();
      endpoint.before = before;
      peer.send(9, access(0, 1));
      await until(() => peer.ended, 'the end');
      expect(bugs).toEqual([expect.any(AssertionFailure)]);
      expect(peer.received).toEqual([]);
      expect(endpoint.closedWith).toBeInstanceOf(AssertionFailure);
    });

    it('is a read of another length, too', async () => {
      await peer.negotiate();
      endpoint.read = () => new Uint8Array(3);
      peer.send(9, access(0, 4));
      await until(() => peer.ended, 'the end');
      expect(bugs).toEqual([expect.any(AssertionFailure)]);
    });

    it('comes out after the fence has answered', async () => {
      await peer.negotiate();
      const slow = gate();
      endpoint.before = () => slow.passed.then(() => Promise.reject(new TypeError('ours')));
      peer.send(9, access(0, 1));
      await until(() => connection.pendingCount === 1, 'pending');
      connection.fence('ENODEV');
      slow.open();
      await until(() => bugs.length === 1, 'told');
    });

    it('ends the process when nobody is told of it', () => {
      const [near, other] = world.pair();
      near[Symbol.dispose]();
      let handler: StreamHandler | undefined;
      const second = new TestEndpoint(world);
      second.before = () => {
        throw new AssertionFailure('ours');
      };
      other.start = (given) => {
        handler = given;
      };
      serveVfioUser(other, second, { clock: systemClock });
      const feed = (bytes: Uint8Array): void => {
        handler?.data(bytes.subarray(0, 16), [], 0);
        handler?.data(bytes.subarray(16), [], 0);
      };
      feed(rawFrame(u.VFIO_USER_VERSION, version));
      expect(() => feed(rawFrame(9, access(0, 1)))).toThrow(AssertionFailure);
      expect(second.closedWith).toBeInstanceOf(AssertionFailure);
    });

    it('is not an expected error of the operating system', async () => {
      await peer.negotiate();
      endpoint.before = () => {
        throw new OsError('ENOMEM', 'mmap');
      };
      expect(await peer.ask(9, access(0, 1))).toBe('ENOMEM');
      expect(bugs).toEqual([]);
    });
  });

  it('screened descriptors: a map and a bind are EBADF, other commands end the connection', async () => {
    if (!('readBytesMax' in far)) return;
    await peer.negotiate();
    const near = peer.socket as PipeSocket;
    const askRefused = async (bytes: Uint8Array, fds: Fd[], count: number) => {
      near.send(bytes, fds, count);
      const reply = await peer.next();
      closeAll(reply.fds);
      return verdict(reply);
    };
    expect(await askRefused(rawFrame(2, map(0n)), [], 1)).toBe('EBADF');
    expect(await askRefused(rawFrame(2, map(0n)), files(1), 1)).toBe('EINVAL');
    expect(await askRefused(rawFrame(8, bind(2)), files(1), 1)).toBe('EBADF');
    expect(await askRefused(rawFrame(8, bind(2)), files(2), 1)).toBe('EINVAL');
    expect(endpoint.calls).toEqual([]);
    near.send(rawFrame(4, info), [], 1);
    await until(() => peer.ended, 'the end');
  });
});
