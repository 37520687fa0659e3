// Answers for which the connection is no longer there.
import { expect, it } from 'vitest';
import { systemClock } from '../os/clock.js';
import { regionIoFds, VFIO_USER_DEVICE_GET_REGION_IO_FDS } from '../uapi/vfio-user.js';
import { serveVfioUser } from './server.js';
import { FullEndpoint } from './testing/full-endpoint.js';
import { RawPeer } from './testing/raw-peer.js';
import { until, worlds } from './testing/world.js';
import { encodeVersion, ownCapabilities } from './version.js';

it.each(worlds)('are dropped %s with their descriptors', async (_name, createWorld) => {
  const world = createWorld();
  const [near, far] = world.pair();
  const endpoint = new FullEndpoint(world);
  const connection = serveVfioUser(far, endpoint, { clock: systemClock });
  const peer = new RawPeer(near);
  expect(await peer.ask(1, encodeVersion(1, ownCapabilities))).toBe('ok');
  const give = endpoint.regionIoFds.bind(endpoint);
  endpoint.regionIoFds = (region) => {
    connection.close();
    return give(region);
  };
  const ask = regionIoFds.encode({ argsz: 1000, flags: 0, index: 0, count: 0 });
  peer.send(VFIO_USER_DEVICE_GET_REGION_IO_FDS, ask);
  await until(() => peer.ended && endpoint.closedCount === 1, 'the end');
  expect(peer.received).toEqual([]);
  peer.close();
  await until(() => world.left().length === 0, 'no leak');
});
