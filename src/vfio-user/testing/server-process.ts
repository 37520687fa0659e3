// A process that serves a test endpoint on the path it is given, to be killed or stopped. Writes
// one line when it listens, and one for every call of the endpoint.

import { rmSync } from 'node:fs';
import { systemClock } from '../../os/clock.js';
import { loadNative } from '../../os/native.js';
import { OsSockets } from '../../os/sockets.js';
import { serveVfioUser } from '../server.js';
import { TestEndpoint } from './endpoint.js';
import { kernelWorld } from './world.js';

const path = process.argv[2] ?? '';
/** A call that begins so is never answered. */
const stuckAt = process.argv[3];
const world = kernelWorld();

// What a killed one left behind.
rmSync(path, { force: true });

new OsSockets(loadNative(), systemClock).listen(path, 0o600, (socket) => {
  const endpoint = new TestEndpoint(world);
  endpoint.before = (call) => {
    process.stdout.write(`${call}\n`);
    if (stuckAt !== undefined && call.startsWith(stuckAt)) return new Promise(() => {});
  };
  serveVfioUser(socket, endpoint, { clock: systemClock });
});
process.stdout.write('listening\n');
