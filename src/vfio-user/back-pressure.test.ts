// A client that asks for more than it reads: the server works for it only as fast as it reads.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../base/limits.js';
import { systemClock } from '../os/clock.js';
import type { StreamSocket } from '../os/socket-types.js';
import { regionAccess, VFIO_USER_REGION_READ } from '../uapi/vfio-user.js';
import { serveVfioUser, type VfioUserConnection } from './server.js';
import { TestEndpoint } from './testing/endpoint.js';
import { RawPeer } from './testing/raw-peer.js';
import { kernelWorld, turns, until, type World } from './testing/world.js';

const dataBytes = limits.vfioUserDataBytesMax;
const ask = regionAccess.encode({ offset: 0, region: 2, count: dataBytes });

describe.each([
  ['at once', () => {}],
  ['later', () => Promise.resolve()],
])('a client that is slow to read, of a device that answers %s', (_how, before) => {
  let world: World;
  let endpoint: TestEndpoint;
  let peer: RawPeer;
  let socket: StreamSocket;
  let connection: VfioUserConnection;

  beforeEach(async () => {
    world = kernelWorld();
    endpoint = new TestEndpoint(world);
    const [near, far] = world.pair();
    socket = far;
    connection = serveVfioUser(far, endpoint, { clock: systemClock });
    peer = new RawPeer(near);
    await peer.negotiate();
    endpoint.before = before;
  });

  afterEach(async () => {
    peer.close();
    await until(() => endpoint.closedCount === 1 && world.left().length === 0, 'no leak');
  });

  function askAll(count: number): void {
    for (let messageId = 0; messageId < count; messageId++) {
      peer.send(VFIO_USER_REGION_READ, ask, { messageId });
    }
  }

  it('gets every reply in order, however many it asks for', async () => {
    const count = 24;
    peer.socket.pause();
    askAll(count);
    await until(() => connection.pendingCount > 0, 'requests that wait');
    await turns(20);
    peer.socket.resume();
    for (let id = 0; id < count; id++) {
      const { header, payload } = await peer.next();
      expect([header.messageId, payload.length]).toEqual([id, dataBytes + 16]);
    }
    expect(endpoint.calls).toHaveLength(count);
    expect(connection.isOpen).toBe(true);
  });

  it('holds no more of the server than it may', async () => {
    const more = 300;
    peer.socket.pause();
    askAll(limits.vfioUserPendingMax + more);
    await until(() => connection.pendingCount === limits.vfioUserPendingMax, 'as many as may wait');
    await turns(20);
    expect(connection.pendingCount).toBe(limits.vfioUserPendingMax);
    // Past the limit by less than one reply.
    expect(socket.queuedBytes).toBeGreaterThan(limits.vfioUserUnsentBytesMax);
    expect(socket.queuedBytes).toBeLessThan(limits.vfioUserUnsentBytesMax + dataBytes + 32);
    expect(endpoint.calls.length).toBeLessThan(5);
    expect(connection.isOpen).toBe(true);
    connection.fence('ENODEV');
    await turns();
    expect(socket.isOpen).toBe(true);
    expect(socket.queuedBytes).toBeLessThan(limits.sendQueueBytesMax);
  });
});
