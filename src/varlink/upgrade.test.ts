// Connections that leave Varlink for another protocol, on sockets of the machine: no byte and no
// descriptor is lost on the way, and none is taken for another's.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { silentLogger } from '../base/log.js';
import { systemClock } from '../os/clock.js';
import { closeAll, Fd } from '../os/fd.js';
import { loadNative } from '../os/native.js';
import type { ListenerSocket, StreamSocket } from '../os/socket-types.js';
import { OsSockets } from '../os/sockets.js';
import { openCount } from '../os/testing/open-descriptors.js';
import { Recorder, turns, until } from '../os/testing/socket-contract.js';
import { VarlinkClient } from './client.js';
import { encodeFrame } from './frames.js';
import { VarlinkService } from './service.js';

const native = loadNative();
const sockets = new OsSockets(native, systemClock);
const folder = mkdtempSync(join(tmpdir(), 'lessor-upgrade-'));
const path = join(folder, 'socket');
const description = `interface org.example.up
method Up(refuse: ?bool) -> (word: string)
method Ping() -> (word: string)
error Denied (code: string, errno: string, hint: string, detail: string)
`;

let service: VarlinkService;
let listener: ListenerSocket;
let openBefore = 0;
const bugs: unknown[] = [];
/** The service's end after an upgrade, with what it received. */
let far: Recorder;
let farSocket: StreamSocket | undefined;
/** Lets a waiting call for an upgrade go on. */
let proceed: () => void;
let proceeding: Promise<void>;

const createFd = (): Fd => new Fd(native, native.eventFd(1, 0o2004000));
const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'latin1');

beforeEach(() => {
  openBefore = openCount();
  far = new Recorder();
  farSocket = undefined;
  proceeding = new Promise((resolve) => {
    proceed = resolve;
  });
  service = new VarlinkService({
    info: { vendor: '', product: '', version: '', url: '' },
    log: silentLogger,
    onBug: (error) => bugs.push(error),
  });
  service.add(description, {
    Up: {
      fdsMax: 1,
      upgrades: true,
      handle: async (parameters: { refuse?: boolean }, call) => {
        if (!call.upgrade) return { word: 'as you are' };
        await proceeding;
        if (parameters.refuse) throw new LessorError('DENIED', 'no');
        farSocket = call.handOver({ word: 'up' });
        farSocket?.start(far, { fdsMax: 16 });
        return undefined;
      },
    },
    Ping: () => ({ word: 'pong' }),
  });
  listener = sockets.listen(path, 0o600, (socket) => service.accept(socket));
});

afterEach(async () => {
  listener[Symbol.dispose]();
  service[Symbol.dispose]();
  farSocket?.[Symbol.dispose]();
  closeAll(far.fds);
  await until(() => openCount() === openBefore, 'nothing leaked');
  expect(bugs).toEqual([]);
});

afterAll(() => rmSync(folder, { recursive: true }));

const up = (parameters: object = {}): Uint8Array =>
  encodeFrame({ method: 'org.example.up.Up', parameters, upgrade: true });
const ping = encodeFrame({ method: 'org.example.up.Ping' });

/** A client that says what it likes. */
function raw(): { socket: StreamSocket; seen: Recorder } & Disposable {
  const socket = sockets.connect(path);
  const seen = new Recorder();
  socket.start(seen, { fdsMax: 16 });
  return { socket, seen, [Symbol.dispose]: () => socket[Symbol.dispose]() };
}

const textOf = (recorder: Recorder): string =>
  Buffer.from(recorder.bytes).toString('latin1').replaceAll('\0', '\n');

describe('an upgrade', () => {
  test('gives both sides their sockets, for bytes and descriptors both ways', async () => {
    proceed();
    const client = new VarlinkClient(sockets.connect(path), systemClock);
    await client.call('org.example.up.Ping');
    const { parameters, socket } = await client.upgrade('org.example.up.Up');
    expect(parameters).toEqual({ word: 'up' });
    expect(client.closed.aborted).toBe(true);
    await expect(client.call('org.example.up.Ping')).rejects.toMatchObject({
      code: 'BROKER_GONE',
    });
    expect(service.connectionCount).toBe(0);
    const near = new Recorder();
    farSocket?.send(bytesOf('early'), [createFd()]);
    await turns();
    socket.start(near, { fdsMax: 16 });
    socket.send(bytesOf('one\0two'), [createFd(), createFd()]);
    await until(() => near.byteCount === 5 && far.byteCount === 7, 'both');
    expect([textOf(near), near.fds.length]).toEqual(['early', 1]);
    expect([textOf(far), far.fds.length]).toEqual(['one\ntwo', 2]);
    closeAll(near.fds);
    // The client's own dispose is of no consequence any more: the socket is another's.
    client[Symbol.dispose]();
    expect(socket.isOpen).toBe(true);
    socket[Symbol.dispose]();
    await until(() => far.ends.length === 1, 'the end');
    expect(far.ends).toEqual([undefined]);
  });

  test('that is refused leaves the connection as it was', async () => {
    proceed();
    using client = new VarlinkClient(sockets.connect(path), systemClock);
    await expect(client.upgrade('org.example.up.Up', { refuse: true })).rejects.toMatchObject({
      code: 'DENIED',
    });
    await expect(client.upgrade('org.example.up.Ping')).rejects.toThrow('MethodNotImplemented');
    const { parameters } = await client.call('org.example.up.Up');
    expect(parameters).toEqual({ word: 'as you are' });
  });

  test('hands on what was sent too early, in the pieces that are asked for', async () => {
    using peer = raw();
    far.want = 3;
    const call = up();
    peer.socket.send(Buffer.concat([ping, call, bytesOf('ab\0cd')]));
    await turns();
    peer.socket.send(bytesOf('efg'));
    await turns();
    proceed();
    await until(() => far.byteCount === 8, 'all of it');
    expect(far.reads.map(({ bytes }) => bytes.length)).toEqual([3, 3, 2]);
    expect(textOf(far)).toBe('ab\ncdefg');
    peer.socket.send(bytesOf('hi'), [createFd()]);
    await until(() => far.byteCount === 10, 'the rest');
    expect(far.fds.length).toBe(1);
    expect(textOf(peer.seen)).toContain('"pong"');
  });

  test('that is refused takes what was sent too early for Varlink', async () => {
    using peer = raw();
    peer.socket.send(Buffer.concat([up({ refuse: true }), ping, ping.subarray(0, 9)]));
    await turns();
    expect(textOf(peer.seen)).toBe('');
    proceed();
    await turns();
    peer.socket.send(ping.subarray(9));
    await until(() => textOf(peer.seen).split('\n').length === 4, 'three answers');
    expect(textOf(peer.seen)).toMatch(/Denied.*\n.*pong.*\n.*pong.*\n$/);
  });

  test('with back-pressure keeps early bytes until they are wanted', async () => {
    using peer = raw();
    far.want = 1;
    far.onData = () => farSocket?.pause();
    peer.socket.send(Buffer.concat([up(), bytesOf('abc')]));
    proceed();
    for (const count of [1, 2, 3]) {
      await until(() => far.byteCount === count, `byte ${count}`);
      await turns();
      expect(far.byteCount).toBe(count);
      farSocket?.resume();
    }
  });

  test.each(['with the call', 'behind it in one read', 'in a later read'])(
    'takes no descriptor before the answer: %s',
    async (when) => {
      using peer = raw();
      if (when === 'with the call') {
        peer.socket.send(Buffer.concat([up(), bytesOf('x')]), [createFd(), createFd()]);
      } else {
        peer.socket.send(up());
        if (when === 'in a later read') await turns();
        peer.socket.send(bytesOf('\0\0\0x'), [createFd()]);
      }
      await until(() => peer.seen.ends.length === 1, 'the end');
      expect(textOf(peer.seen)).toContain('FD_UNEXPECTED');
      proceed();
      await turns();
      expect(far.byteCount).toBe(0);
    },
  );

  test('keeps early bytes up to the limit, and not one more', async () => {
    for (const extra of [0, 1]) {
      using peer = raw();
      peer.socket.send(up());
      peer.socket.send(new Uint8Array(limits.upgradeEarlyBytesMax + extra));
      await turns(60);
      expect(peer.seen.ends.length).toBe(extra);
      if (extra === 1) expect(textOf(peer.seen)).toContain('FRAME_TOO_LARGE');
    }
    proceed();
    await turns();
  });

  test.each(['more', 'oneway'])('goes with no %s', async (what) => {
    using peer = raw();
    peer.socket.send(encodeFrame({ method: 'org.example.up.Up', upgrade: true, [what]: true }));
    await until(() => peer.seen.ends.length === 1, 'the end');
    expect(textOf(peer.seen)).toContain('FRAME_MALFORMED');
  });

  test('whose client is gone before the answer is given to nobody', async () => {
    const peer = raw();
    peer.socket.send(up());
    await turns();
    peer[Symbol.dispose]();
    await until(() => service.connectionCount === 0, 'the end is noticed');
    proceed();
    await turns();
    expect(farSocket).toBeUndefined();
  });
});
