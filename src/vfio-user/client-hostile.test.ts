// A client against a server that stalls, repeats itself or asks back. What it takes for an answer
// is in rules.test.ts.
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

  describe('VERSION', () => {
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
