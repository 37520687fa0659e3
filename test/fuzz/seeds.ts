// Right messages to start from: what our own client sends on its tour, recorded on the way.

import { connectVfioUser } from '../../src/vfio-user/client.js';
import { serveVfioUser } from '../../src/vfio-user/server.js';
import { FullEndpoint } from '../../src/vfio-user/testing/full-endpoint.js';
import { ManualClock } from '../../src/vfio-user/testing/manual-clock.js';
import { RawPeer, type Received, rawFrame } from '../../src/vfio-user/testing/raw-peer.js';
import { memoryWorld, turns } from '../../src/vfio-user/testing/world.js';
import type { Shape } from './mutate.js';
import { Random } from './random.js';
import { tour } from './tour.js';

export function shapeOf({ header, payload, fds }: Received): Shape {
  const { command, messageId, flags, errno } = header;
  return { command, messageId, flags, errno, sizeError: 0, payload, fdCount: fds.length };
}

/** Passes a message on as it is; its descriptors go with it. */
export function passOn(to: RawPeer, { header, payload, fds }: Received): void {
  to.socket.send(rawFrame(header.command, payload, header), fds);
}

const rounds = 12;

/** One shape for each message of several tours, VERSION left out. */
export async function recordSeeds(): Promise<readonly Shape[]> {
  const world = memoryWorld();
  const random = new Random(1);
  const clock = new ManualClock();
  const [near, clientEnd] = world.pair();
  const [serverEnd, far] = world.pair();
  serveVfioUser(far, new FullEndpoint(world), { clock });
  const fromClient = new RawPeer(clientEnd);
  const fromServer = new RawPeer(serverEnd);
  const seeds: Shape[] = [];
  const pump = async (isOver: () => boolean): Promise<void> => {
    while (!isOver()) {
      await turns(1);
      for (const message of fromClient.received.splice(0)) {
        if (message.header.command !== 1) seeds.push(shapeOf(message));
        passOn(fromServer, message);
      }
      for (const message of fromServer.received.splice(0)) passOn(fromClient, message);
    }
  };
  let isDone = false;
  const drive = async (): Promise<void> => {
    const client = await connectVfioUser(near, { clock });
    for (let round = 0; round < rounds; round++) {
      for (const stop of tour) await stop.ask(client, random, world).catch(() => {});
    }
    client.close();
  };
  const driving = drive().finally(() => {
    isDone = true;
  });
  await pump(() => isDone);
  await driving;
  fromClient.close();
  fromServer.close();
  await turns();
  return seeds;
}
