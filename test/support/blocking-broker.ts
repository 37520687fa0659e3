// A broker embedded in a program whose main thread is blocked on command: "block MS" on its
// standard input. Says when the block began and ended.
import { createInterface } from 'node:readline';
import { mqdmaDriver } from '../../src/driver/mqdma/driver.js';
import { createBroker, createEmbeddedMqdma, createOs, silentLogger } from '../../src/index.js';

const [socketPath = ''] = process.argv.slice(2);
const os = createOs();
const helpers = os.createHelpers();
const fn = await createEmbeddedMqdma({
  os,
  helpers,
  name: 'blocked',
  queueCount: 4,
  faultInjection: false,
  log: silentLogger,
});
const broker = await createBroker({
  os,
  helpers,
  fn,
  driver: mqdmaDriver,
  socketPath,
  adminPath: `${socketPath}.admin`,
  log: silentLogger,
});

/** Monotonic, and the same in every process. */
function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

process.stdout.write('{"ready":true}\n');
for await (const line of createInterface({ input: process.stdin })) {
  const lengthMs = Number(line.split(' ')[1]);
  const fromMs = nowMs();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lengthMs);
  process.stdout.write(`${JSON.stringify({ fromMs, toMs: nowMs() })}\n`);
}
await broker.close();
await helpers[Symbol.asyncDispose]();
