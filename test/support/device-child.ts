// A process that serves mqdma over vfio-user on the path it is given, until it is killed.
import { rmSync } from 'node:fs';
import { createMqdma } from '../../src/device/mqdma/create.js';
import { serveDevice } from '../../src/vfio-user/index.js';

const [, , path = '', queueCount = '4'] = process.argv;

// What a killed one left behind.
rmSync(path, { force: true });
const options = { queueCount: Number(queueCount), pageBytes: 4096, faultInjection: true };
await serveDevice(createMqdma(options), { path, name: 'mqdma' });
process.send?.('listening');
