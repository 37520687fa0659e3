// A served test endpoint and a negotiated raw client, for tests of one rule each.
import { expect } from 'vitest';
import { systemClock } from '../../os/clock.js';
import type { Fd } from '../../os/fd.js';
import { deviceInfo, VFIO_USER_DEVICE_GET_INFO } from '../../uapi/vfio-user.js';
import { serveVfioUser } from '../server.js';
import { TestEndpoint } from './endpoint.js';
import { RawPeer } from './raw-peer.js';
import { until, type World } from './world.js';

export function infoPayload(argsz = 16): Uint8Array {
  return deviceInfo.encode({ argsz, flags: 0, numRegions: 0, numIrqs: 0 });
}

export interface Rules {
  readonly world: World;
  readonly endpoint: TestEndpoint;
  readonly peer: RawPeer;
  files(count: number): Fd[];
  /**
   * Asks and wants this errno. The endpoint must not have heard of it, no descriptor may be left,
   * and the connection must live.
   */
  expectReply(wanted: string, command: number, payload?: Uint8Array, fds?: Fd[]): Promise<void>;
  /** Whatever a test did, nothing may be left open when the client is gone. */
  finish(): Promise<void>;
}

export async function startRules(createWorld: () => World): Promise<Rules> {
  const world = createWorld();
  const endpoint = new TestEndpoint(world);
  const [near, far] = world.pair();
  serveVfioUser(far, endpoint, { clock: systemClock });
  const peer = new RawPeer(near);
  await peer.negotiate();
  return {
    world,
    endpoint,
    peer,
    files: (count) => Array.from({ length: count }, (_, index) => world.open(`file${index}`)),
    async expectReply(wanted, command, payload, fds = []) {
      const calls = endpoint.calls.length;
      expect(await peer.ask(command, payload, { fds })).toBe(wanted);
      expect(endpoint.calls.length).toBe(calls);
      expect(world.left().filter((name) => name.startsWith('file'))).toEqual([]);
      expect(await peer.ask(VFIO_USER_DEVICE_GET_INFO, infoPayload())).toBe('ok');
    },
    async finish() {
      peer.close();
      await until(() => endpoint.closedCount === 1 && world.left().length === 0, 'no leak');
    },
  };
}
