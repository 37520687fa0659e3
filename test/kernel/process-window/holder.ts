// A process that has a whole device: takes the lease, uses its registers, and says in a line of
// JSON what it has. It gives the lease back when it is told to by a line on its standard input, or
// by the broker; then it ends, or stays.
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { connect } from '../../../src/client/index.js';
import { eduRegister } from '../../../src/device/edu/registers.js';
import { type Held, leftStatus } from './held.js';

const [socket = '', manner = ''] = process.argv.slice(2);

const client = await connect({ socket });
const lease = await client.acquire({ memoryBytes: 4096, revocation: 'process', mapped: true });
const revoking = once(lease, 'revoking');
const told = once(createInterface({ input: process.stdin }), 'line');

const registers = lease.mappedWindow('registers');
const load = (offsetBytes: number): number => registers.u32[offsetBytes / 4] as number;
const identification = load(eduRegister.IDENTIFICATION);
registers.u32[eduRegister.LIVENESS / 4] = 0x1234_5678;
const inverted = load(eduRegister.LIVENESS);
await registers.writeMessage32(eduRegister.LIVENESS, 0x0f0f_0f0f);
const { id, isolation, revocation } = lease.record;
const held: Held = {
  lease: id,
  isolation,
  revocation,
  identification,
  inverted,
  afterMessage: load(eduRegister.LIVENESS),
};
process.stdout.write(`${JSON.stringify(held)}\n`);

await Promise.race([told, revoking]);
await lease.close();
if (manner === 'stays') await new Promise(() => setInterval(() => undefined, 1 << 30));
process.exit(leftStatus);
