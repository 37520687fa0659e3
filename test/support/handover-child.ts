// A program that is given a lease: takes it from its environment, uses it, tells its events.
import { execFileSync } from 'node:child_process';
import { Lease } from '../../src/client/index.js';
import { Queue } from '../../src/client/mqdma/index.js';

const bytes = 4096;
const names = ['LISTEN_FDS', 'LISTEN_FDNAMES', 'LISTEN_PID', 'LESSOR_LEASE'];

function say(fact: object): void {
  process.stdout.write(`${JSON.stringify(fact)}\n`);
}

const lease = await Lease.fromEnvironment();
lease.on('revoking', ({ reason }) => say({ revoking: reason }));
const queue = await Queue.create(lease);
await queue.nop();
const memory = await lease.memory.allocate(2 * bytes);
for (let index = 0; index < bytes; index += 1) memory.u8[index] = index * 7;
await queue.copy({ source: memory.iova, destination: memory.iova + bytes, lengthBytes: bytes });
const again = await Lease.fromEnvironment().catch((error: { code: string }) => error.code);
say({
  pid: process.pid,
  slice: lease.record.slice,
  copied: Buffer.compare(memory.u8.subarray(0, bytes), memory.u8.subarray(bytes)) === 0,
  namesLeft: names.filter((name) => name in process.env),
  again,
  fdsOfChild: execFileSync('sh', ['-c', 'ls /proc/$$/fd; true'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
    .trimEnd()
    .split('\n'),
});
say({
  ended: (await lease.ended).reason,
  value: (lease.window('status') as { u32: Uint32Array }).u32[0],
});
