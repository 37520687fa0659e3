// Waiting for a peer, with peers of every kind: who comes in vain costs little, and takes nothing.
import { expect, test } from 'vitest';
import { LessorError, OsError } from '../base/errors.js';
import { silentLogger } from '../base/log.js';
import type { Fd } from '../os/fd.js';
import type { HelperPool } from '../os/helper-types.js';
import type { Os } from '../os/os-types.js';
import type { PeerCredentials, StreamSocket } from '../os/socket-types.js';
import { FakeClock } from '../os/testing/fake-clock.js';
import type { VfioUserConnection } from '../vfio-user/server.js';
import { ListenPost, type PeerEvents } from './listen-post.js';

const uid = 1000;

class FakePeer {
  readonly credentials: PeerCredentials;
  isOpen = true;
  fenced = false;
  events: PeerEvents | undefined;

  constructor(peerUid = uid) {
    this.credentials = { pid: 1, gid: peerUid, uid: peerUid };
  }

  readonly socket = {
    credentials: () => this.credentials,
    [Symbol.dispose]: () => {
      this.isOpen = false;
    },
  } as unknown as StreamSocket;

  get connection(): VfioUserConnection {
    const peer = this;
    return {
      get isOpen() {
        return peer.isOpen;
      },
      peer: undefined,
      pendingCount: 0,
      fence: () => {
        peer.fenced = true;
      },
      close: () => peer.leave(),
    } as VfioUserConnection;
  }

  leave(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.events?.ended(true);
  }
}

function setUp(options: { connectMs?: number } = {}) {
  const clock = new FakeClock();
  const told: string[] = [];
  const peers: FakePeer[] = [];
  const waiting: FakePeer[] = [];
  /** While set, somebody seems to be there, and nobody is. */
  let failing: Error | undefined;
  let ready: (() => void) | undefined;
  let accepts = 0;
  let isListenerOpen = true;
  const listener = {
    close: () => {
      isListenerOpen = false;
    },
  } as unknown as Fd;
  const knock = (): void => {
    if (waiting.length > 0 || failing !== undefined) ready?.();
  };
  const os = {
    clock,
    sockets: {
      onConnectable: (_fd: Fd, listen: () => void) => {
        ready = listen;
        setImmediate(knock);
        return {
          [Symbol.dispose]: () => {
            ready = undefined;
          },
        };
      },
    },
  } as unknown as Os;
  const helpers = {
    accept: async () => {
      accepts += 1;
      const next = waiting.shift();
      if (next === undefined) throw failing;
      return next.socket;
    },
  } as unknown as HelperPool;
  const all: FakePeer[] = [];
  const post = new ListenPost({
    os,
    helpers,
    log: silentLogger,
    listener,
    leaseId: 'x',
    uid,
    negotiateMs: 500,
    connectMs: options.connectMs,
    serve: (socket, events) => {
      const peer = all.find((candidate) => candidate.socket === socket) as FakePeer;
      peer.events = events;
      peers.push(peer);
      return peer.connection;
    },
    onConnected: (peer) => told.push(`connected ${peer.uid}`),
    onEndOfFile: () => told.push('end of file'),
    onAbandoned: () => told.push('abandoned'),
  });
  const come = (peer: FakePeer): void => {
    all.push(peer);
    waiting.push(peer);
    knock();
  };
  const fail = (error: Error): void => {
    failing = error;
    knock();
  };
  return {
    fail,
    post,
    clock,
    told,
    peers,
    come,
    get accepts() {
      return accepts;
    },
    get isListening() {
      return isListenerOpen;
    },
  };
}

const settle = (): Promise<void> => new Promise((resolve) => soon(resolve));
function soon(done: () => void): void {
  setImmediate(() => setImmediate(() => setImmediate(done)));
}

test('the first that negotiates has the lease, and nobody is waited for any more', async () => {
  const world = setUp();
  const peer = new FakePeer();
  world.come(peer);
  await settle();
  expect(world.post.keepsPeer).toBe(false);
  peer.events?.opened();
  expect(world.told).toEqual([`connected ${uid}`]);
  expect([world.isListening, world.post.keepsPeer]).toEqual([false, true]);
  world.post.fence();
  expect([peer.fenced, peer.isOpen]).toEqual([true, true]);
  peer.leave();
  expect(world.told).toEqual([`connected ${uid}`, 'end of file']);
  expect(world.post.keepsPeer).toBe(false);
});

test('peers of other users and peers that say nothing are dropped, one after the other', async () => {
  const world = setUp();
  const stranger = new FakePeer(uid + 1);
  const silent = new FakePeer();
  const shy = new FakePeer();
  world.come(stranger);
  world.come(silent);
  world.come(shy);
  await settle();
  expect([stranger.isOpen, world.peers.length]).toEqual([false, 0]);
  world.clock.advance(50);
  await settle();
  // One at a time.
  expect(world.peers.map((peer) => peer === silent)).toEqual([true]);
  world.clock.advance(499);
  expect(silent.isOpen).toBe(true);
  world.clock.advance(1);
  expect(silent.isOpen).toBe(false);
  world.clock.advance(50);
  await settle();
  expect(world.peers.at(-1) === shy).toBe(true);
  shy.leave();
  expect([world.told, world.isListening]).toEqual([[], true]);
  world.post.close();
});

test.each([
  new OsError('EAGAIN', 'accept'),
  new OsError('EINVAL', 'accept'),
  new LessorError('DEADLINE_EXCEEDED', 'accept took longer'),
])('a socket that is ready and has nobody is asked less and less often: %s', async (error) => {
  const world = setUp();
  world.fail(error);
  for (let tick = 0; tick < 400; tick += 1) {
    await settle();
    world.clock.advance(50);
  }
  // 20 s: seven doublings in the first 6.4 s, then once in 3.2 s.
  expect(world.accepts).toBeGreaterThan(5);
  expect(world.accepts).toBeLessThan(15);
  world.come(new FakePeer());
  world.clock.advance(3200);
  await settle();
  expect(world.peers.length).toBe(1);
  world.post.close();
});

test('a fence while nobody has the lease closes everything', async () => {
  const world = setUp();
  const silent = new FakePeer();
  world.come(silent);
  await settle();
  world.post.fence();
  expect([silent.isOpen, world.isListening, world.told]).toEqual([false, false, []]);
});

test('a peer that comes as it all ends is not served', async () => {
  const world = setUp();
  const late = new FakePeer();
  world.come(late);
  world.post.close();
  await settle();
  expect([late.isOpen, world.peers.length]).toEqual([false, 0]);
});

test('nobody in time', () => {
  const world = setUp({ connectMs: 1000 });
  world.clock.advance(999);
  expect(world.told).toEqual([]);
  world.clock.advance(1);
  expect([world.told, world.isListening]).toEqual([['abandoned'], false]);
});
