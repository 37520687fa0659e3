// A function over a CounterDevice that a vfio-user server in this process serves, by a real socket.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../os/clock.js';
import { OsEvents } from '../../os/events.js';
import { createMemoryOs } from '../../os/memory.js';
import { loadNative } from '../../os/native.js';
import { OsSockets } from '../../os/sockets.js';
import { type DeviceServer, serveDevice } from '../../vfio-user/index.js';
import { createVfioUserFunction, type VfioUserFunctionOptions } from '../vfio-user/index.js';
import { CounterDevice } from './counter-device.js';
import type { CounterFixture } from './counter-fixture.js';
import { DirectHelpers } from './direct-helpers.js';

const native = loadNative();

export const servedOs = {
  memory: createMemoryOs(native),
  events: new OsEvents(native),
  clock: systemClock,
  sockets: new OsSockets(native, systemClock),
};

export interface ServedFixture extends CounterFixture {
  readonly path: string;
  /** Ends the server, as the death of its process would. */
  stop(): Promise<void>;
  /** Serves a fresh device where the last one was. */
  serve(frameCount?: number): Promise<DeviceServer>;
}

/**
 * The suites' function, and its server.
 *
 * @param detachableWindows - The server offers memory of their own for windows.
 */
export async function createServedFixture(
  options: Partial<VfioUserFunctionOptions> = {},
  detachableWindows = false,
): Promise<ServedFixture> {
  const directory = mkdtempSync(join(tmpdir(), 'lessor-served-'));
  const path = join(directory, 'device.sock');
  const os = servedOs;
  let server: DeviceServer | undefined;
  const serve = async (frameCount = 4): Promise<DeviceServer> => {
    const device = new CounterDevice({ frameCount, pageBytes: os.memory.pageBytes });
    server = await serveDevice(device, { path, os, name: 'counter', detachableWindows });
    return server;
  };
  const stop = async (): Promise<void> => {
    await server?.[Symbol.asyncDispose]();
    server = undefined;
  };
  await serve();
  const helpers = new DirectHelpers(os.memory);
  const fn = await createVfioUserFunction({ os, helpers, path, name: 'counter', ...options });
  return {
    fn,
    path,
    stop,
    serve,
    ...os,
    async [Symbol.asyncDispose]() {
      await fn[Symbol.asyncDispose]();
      await stop();
      rmSync(directory, { recursive: true });
    },
  };
}
