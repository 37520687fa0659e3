// A broker in a process of its own, with the deadlines that a test asks for. Told over IPC what to
// do; ends in order on SIGTERM, with status 70 when something that lessor guarantees did not hold.

import { silentLogger } from '../../src/base/log.js';
import { createBroker } from '../../src/broker/broker.js';
import { createEmbeddedMqdma } from '../../src/broker/embedded.js';
import { mqdmaDriver } from '../../src/driver/mqdma/driver.js';
import { createOs } from '../../src/os/index.js';
import type { BrokerSettings } from './broker-fixture.js';
import { weakDriver } from './weak-driver.js';

const bugStatus = 70;
const settings = JSON.parse(process.env.LESSOR_TEST_BROKER ?? '{}') as BrokerSettings;
const os = createOs();
const helpers = os.createHelpers();

function crash(error: unknown): never {
  console.error('broker under test:', error);
  process.exit(bugStatus);
}

process.on('uncaughtException', crash);
process.on('unhandledRejection', crash);

const fn = await createEmbeddedMqdma({
  os,
  helpers,
  name: 'mqdma-test',
  queueCount: settings.queues,
  // Those registers would be reached too, and what they do hides what the others do.
  faultInjection: !settings.weakDriver,
  log: silentLogger,
});
const broker = await createBroker({
  os,
  helpers,
  fn,
  driver: settings.weakDriver ? weakDriver : mqdmaDriver,
  driverOptions: { isolation: settings.isolation },
  socketPath: settings.socketPath,
  adminPath: settings.adminPath,
  socketMode: settings.socketMode,
  switches: { faultInjection: true, ...settings.switches },
  deadlines: settings.deadlines,
  log: silentLogger,
  onBug: crash,
});
const stop = (): void => {
  broker.close().catch(crash);
};
process.once('SIGTERM', stop);
// The test ended without a word.
process.once('disconnect', stop);
process.send?.('ready');
await broker.closed;
await helpers[Symbol.asyncDispose]();
process.removeListener('disconnect', stop);
process.disconnect?.();
