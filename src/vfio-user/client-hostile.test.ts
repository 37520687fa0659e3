// A client against a server that lies, stalls or asks back.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isLessorError, isOsError, isProtocolError } from '../base/errors.js';
import type { Fd } from '../os/fd.js';
import * as u from '../uapi/vfio-user.js';
import { connectVfioUser, type VfioUserClient } from './client.js';
import { ManualClock } from './testing/manual-clock.js';
import { RawPeer, verdict } from './testing/raw-peer.js';
import { memoryWorld, turns, until, type World } from './testing/world.js';
import { encodeVersion, ownCapabilities } from './version.js';

const reply = { flags: 1 };
const versionReply = encodeVersion(1, ownCapabilities);

async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe('client of a hostile server', () => {
  let world: World;
  let clock: ManualClock;
  let server: RawPeer;
  let client: VfioUserClient;
  let ends: (Error | undefined)[];

  function open(): Promise<VfioUserClient> {
    world = memoryWorld();
    clock = new ManualClock();
    const [near, far] = world.pair();
    server = new RawPeer(far);
    return connectVfioUser(near, { clock, deadlineMs: 100 });
  }

  beforeEach(async () => {
    const opening = open();
    const { header } = await server.next();
    server.send(1, versionReply, { ...reply, messageId: header.messageId });
    client = await opening;
    ends = [];
    client.onClosed((error) => ends.push(error));
  });

  afterEach(async () => {
    client.close();
    server.close();
    await turns();
    expect(world.left()).toEqual([]);
    expect(clock.timerCount).toBe(0);
  });

  function files(count: number): Fd[] {
    return Array.from({ length: count }, (_, index) => world.open(`file${index}`));
  }

  /** Answers the next request with this payload. */
  async function answer(payload?: Uint8Array, changes: object = {}, fds: Fd[] = []) {
    const { header } = await server.next();
    const usual = { ...reply, messageId: header.messageId, fds };
    server.send(header.command, payload, { ...usual, ...changes });
  }

  async function expectBroken(promise: Promise<unknown>): Promise<void> {
    const error = await errorOf(promise);
    expect(isProtocolError(error) || isLessorError(error, 'FD_UNEXPECTED')).toBe(true);
    expect(ends).toEqual([error]);
    expect(client.isOpen).toBe(false);
  }

  describe('VERSION', () => {
    async function expectRefused(payload: Uint8Array, changes: object = {}): Promise<unknown> {
      const opening = errorOf(open());
      await answer(payload, changes);
      const error = await opening;
      expect(error).toBeInstanceOf(Error);
      await until(() => server.ended, 'the end');
      server.close();
      expect(world.left()).toEqual([]);
      return error;
    }

    it.each([
      ['another major version', Uint8Array.of(1, 0, 0, 0)],
      ['a higher minor version', Uint8Array.of(0, 0, 2, 0)],
      ['bad JSON', Uint8Array.of(0, 0, 0, 0, 1, 0)],
      ['a short payload', Uint8Array.of(0, 0)],
      ['too long a payload', new Uint8Array(4 + 4096 + 1)],
    ])('with %s closes', async (_what, payload) => {
      expect(isProtocolError(await expectRefused(payload))).toBe(true);
    });

    it('that fails closes, with the errno', async () => {
      const error = await expectRefused(new Uint8Array(0), { flags: 0x21, errno: 13 });
      expect(isOsError(error, 'EACCES')).toBe(true);
    });

    it('that never comes closes at the deadline', async () => {
      const opening = errorOf(open());
      await server.next();
      clock.advance(99);
      await turns();
      expect(server.ended).toBe(false);
      clock.advance(1);
      expect(isLessorError(await opening, 'DEADLINE_EXCEEDED')).toBe(true);
      await until(() => server.ended, 'the end');
      server.close();
      expect(world.left()).toEqual([]);
    });
  });

  describe('a reply', () => {
    const echo = (offset: number, count: number, data: number[], region = 0) =>
      new Uint8Array([...u.regionAccess.encode({ offset, region, count }), ...data]);

    it.each([
      ['is short', echo(8, 4, [1, 2, 3])],
      ['is long', echo(8, 4, [1, 2, 3, 4, 5])],
      ['is empty', new Uint8Array(0)],
      ['has another offset', echo(9, 4, [1, 2, 3, 4])],
      ['has another count', echo(8, 3, [1, 2, 3, 4])],
      ['has another region', echo(8, 4, [1, 2, 3, 4], 1)],
    ])('to a read that %s closes', async (_what, payload) => {
      const read = client.read32(0, 8);
      await answer(payload);
      await expectBroken(read);
    });

    it('to a write must echo it', async () => {
      const write = client.write32(0, 8, 1);
      await answer(echo(8, 5, []));
      await expectBroken(write);
    });

    it.each([
      ['of another id', { messageId: 0x7777 }],
      ['with No_reply', { flags: 0x11 }],
      ['with an unknown flag', { flags: 0x41 }],
      ['over what was asked for', { messageSize: 16 + 21 }],
    ])('%s closes', async (_what, changes) => {
      const read = client.read32(0, 8);
      await answer(echo(8, 4, [1, 2, 3, 4]), changes);
      await expectBroken(read);
    });

    it('to another command closes', async () => {
      const read = client.read32(0, 8);
      const { header } = await server.next();
      server.send(10, echo(8, 4, [1, 2, 3, 4]), { ...reply, messageId: header.messageId });
      await expectBroken(read);
    });

    it('a second time closes', async () => {
      const read = client.read32(0, 8);
      const { header } = await server.next();
      const usual = { ...reply, messageId: header.messageId };
      server.send(9, echo(8, 4, [1, 2, 3, 4]), usual);
      expect(await read).toBe(0x04030201);
      server.send(9, echo(8, 4, [1, 2, 3, 4]), usual);
      await until(() => ends.length === 1, 'the end');
      expect(isProtocolError(ends[0])).toBe(true);
    });

    it('with a descriptor where none is due closes it and the connection', async () => {
      const read = client.read32(0, 8);
      await answer(echo(8, 4, [1, 2, 3, 4]), {}, files(1));
      await expectBroken(read);
    });

    it.each([
      [13, 'EACCES'],
      [0, 'EIO'],
      [9999, 'EIO'],
    ])('with errno %i is %s, whatever comes with it', async (errno, name) => {
      const info = client.regionInfo(0);
      await answer(new Uint8Array(12), { flags: 0x21, errno }, files(1));
      expect(isOsError(await errorOf(info), name as 'EIO')).toBe(true);
      expect(client.isOpen).toBe(true);
    });
  });

  describe('device info', () => {
    it.each([
      [100, 50, true],
      [101, 5, false],
      [9, 51, false],
    ])('of %i regions and %i interrupt indexes', async (numRegions, numIrqs, isGood) => {
      const asked = client.deviceInfo();
      await answer(u.deviceInfo.encode({ argsz: 16, flags: 0xff, numRegions, numIrqs }));
      if (isGood) expect(await asked).toMatchObject({ regionCount: 100, irqCount: 50 });
      else await expectBroken(asked);
    });
  });

  describe('region info', () => {
    const usual = { argsz: 32, flags: 7, index: 0, capOffset: 0, size: 0x4000, offset: 0 };
    const fixed = (change: object = {}) => u.regionInfo.encode({ ...usual, ...change });
    const withCap = (cap: string, change: object = {}) => {
      const bytes = Buffer.from(cap.replaceAll(' ', ''), 'hex');
      const argsz = 32 + bytes.length;
      return new Uint8Array([...fixed({ argsz, flags: 15, capOffset: 32, ...change }), ...bytes]);
    };
    const area = '0010000000000000 0010000000000000';
    const sparse = `0100010000000000 0100000000000000 ${area}`;

    it('without a capability maps all of the region', async () => {
      const asked = client.regionInfo(0);
      await answer(fixed(), {}, files(1));
      const info = await asked;
      expect(info.areas).toEqual([{ offsetBytes: 0, lengthBytes: 0x4000 }]);
      info.fd?.close();
    });

    it('finds the areas behind other capabilities', async () => {
      const asked = client.regionInfo(0);
      await answer(withCap(`0300010028000000 ${sparse}`), {}, files(1));
      const info = await asked;
      expect(info.areas).toEqual([{ offsetBytes: 0x1000, lengthBytes: 0x1000 }]);
      info.fd?.close();
    });

    it.each([
      ['without a descriptor', fixed(), 0],
      ['without the flag', fixed({ flags: 3 }), 1],
    ])('%s maps nothing', async (_what, payload, fdCount) => {
      const asked = client.regionInfo(0);
      await answer(payload, {}, files(fdCount));
      expect(await asked).toMatchObject({ areas: [], fd: undefined });
    });

    it.each([
      ['of another index', fixed({ index: 1 })],
      ['that is short', fixed().subarray(0, 31)],
      ['with argsz under its length', fixed({ argsz: 31 })],
      ['with argsz over its length', fixed({ argsz: 1000 })],
      ['with a huge argsz', fixed({ argsz: 65_537 })],
      ['of 2^53 bytes', new Uint8Array([...fixed()].with(22, 0x20))],
      ['with a chain that loops', withCap('0300010020000000')],
      ['with a chain outside', withCap('0300010000100000')],
      ['with half a header', withCap('03000100', { capOffset: 32 })],
      ['with areas that do not fit', withCap(`0100010000000000 0200000000000000 ${area}`)],
      ['with 2^32-1 areas', withCap('0100010000000000 ffffffff00000000')],
      [
        'with an area outside',
        withCap('0100010000000000 0100000000000000 0030000000000000 0110000000000000'),
      ],
      ['with a reserved word', withCap(`0100010000000000 0100000001000000 ${area}`)],
    ])('%s closes', async (_what, payload) => {
      const asked = client.regionInfo(0);
      await answer(payload, {}, files(1));
      await expectBroken(asked);
    });

    it('that grows for ever closes', async () => {
      const asked = client.regionInfo(0);
      await answer(fixed({ argsz: 2000 }), {}, files(1));
      await answer(fixed({ argsz: 3000 }), {}, files(1));
      await expectBroken(asked);
    });

    it('with two descriptors closes', async () => {
      const asked = client.regionInfo(0);
      await answer(fixed(), {}, files(2));
      await expectBroken(asked);
    });
  });

  describe('a deadline', () => {
    it('ends one request; its late reply is dropped with its descriptor', async () => {
      const slow = errorOf(client.regionInfo(0));
      clock.advance(60);
      const fast = client.deviceInfo();
      const first = (await server.next()).header;
      clock.advance(40);
      expect(isLessorError(await slow, 'DEADLINE_EXCEEDED')).toBe(true);
      const usual = { argsz: 32, flags: 7, index: 0, capOffset: 0, size: 16, offset: 0 };
      const changes = { ...reply, messageId: first.messageId, fds: files(1) };
      server.send(5, u.regionInfo.encode(usual), changes);
      await answer(u.deviceInfo.encode({ argsz: 16, flags: 0, numRegions: 9, numIrqs: 5 }));
      expect((await fast).regionCount).toBe(9);
      expect(client.isOpen).toBe(true);
      expect(world.left().filter((name) => name.startsWith('file'))).toEqual([]);
    });

    it('is told per request for a reset', async () => {
      const slow = errorOf(client.reset(1000));
      const fast = errorOf(client.deviceInfo());
      clock.advance(100);
      expect(isLessorError(await fast, 'DEADLINE_EXCEEDED')).toBe(true);
      clock.advance(899);
      await server.next();
      clock.advance(1);
      expect(isLessorError(await slow, 'DEADLINE_EXCEEDED')).toBe(true);
      expect(client.isOpen).toBe(true);
    });

    it('of a shorter request than those before holds', async () => {
      const long = errorOf(client.reset(1000));
      const short = errorOf(client.reset(10));
      clock.advance(10);
      expect(isLessorError(await short, 'DEADLINE_EXCEEDED')).toBe(true);
      client.close();
      expect(isOsError(await long, 'ECANCELED')).toBe(true);
    });
  });

  it('answers commands of the server with ENOSYS and closes what came with them', async () => {
    server.send(11, u.dmaAccess.encode({ address: 0n, count: 4 }), { messageId: 5 });
    const first = await server.next();
    expect([verdict(first), first.header.messageId, first.header.command]).toEqual([
      'ENOSYS',
      5,
      11,
    ]);
    server.send(12, new Uint8Array(20), { flags: 0x10, fds: files(2) });
    server.send(99, new Uint8Array(3), { messageId: 6, fds: files(1) });
    const second = await server.next();
    expect([verdict(second), second.header.messageId]).toEqual(['ENOSYS', 6]);
    expect(world.left().filter((name) => name.startsWith('file'))).toEqual([]);
  });

  it('keeps commands and replies of one id apart', async () => {
    const read = client.read8(0, 0);
    const { header } = await server.next();
    server.send(11, new Uint8Array(16), { messageId: header.messageId });
    const payload = new Uint8Array(17).fill(0, 0, 12);
    payload.set([1, 0, 0, 0, 9], 12);
    server.send(9, payload, { ...reply, messageId: header.messageId });
    expect(await read).toBe(9);
    expect(verdict(await server.next())).toBe('ENOSYS');
  });
});
