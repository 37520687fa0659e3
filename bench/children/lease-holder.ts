// Holds leases until it is killed: `lease-holder <control socket> [count]`. Says when it has them.
import { connect, type Lease } from '../../src/client/index.js';

const [socket = '', count = '1'] = process.argv.slice(2);
const client = await connect({ socket });
const leases: Lease[] = [];
// One lease is the acquirer's; many are held by their descriptors, which need no connection each.
const holder = count === '1' ? 'acquirer' : 'fd';
for (let index = 0; index < Number(count); index++) {
  leases.push(await client.acquire({ memoryBytes: 65_536, holder }));
}
process.stdout.write(`${leases[0]?.record.id}\n`);
// End-of-file on stdin: the benchmark is over.
process.stdin.resume();
process.stdin.once('end', () => process.exit(0));
