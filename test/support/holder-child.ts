// A process that was given the descriptor of a lease by another: works with it, notes in a file
// how that goes, and goes on until SIGTERM, when it gives the lease back.
import { writeFileSync } from 'node:fs';
import { fromEnvironment } from '../../src/client/index.js';
import { openQueue, workOnce } from './test-client.js';

const { env } = process;
env.LISTEN_FDS = '1';
env.LISTEN_FDNAMES = 'lease';
env.LISTEN_PID = String(process.pid);
const held = await openQueue(await fromEnvironment());
let stopping = false;
process.once('SIGTERM', () => {
  stopping = true;
});
for (let round = 0; !stopping; round += 1) {
  const wrong = await workOnce(held, round);
  writeFileSync(env.LESSOR_TEST_REPORT ?? '', `${round} ${wrong}`);
  if (wrong !== 'ok') break;
}
await held.lease.close();
