// A client that passes the descriptor of its window to another process, and does nothing else.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { connect } from '../../src/client/index.js';

const mapper = fileURLToPath(new URL('./window-mapper-child.js', import.meta.url));
const client = await connect({ socket: process.env.LESSOR_TEST_SOCKET ?? '' });
const lease = await client.acquire({ memoryBytes: 65_536 });
using exported = await lease.exportWindow('queue');
const stdio = ['ignore', 'inherit', 'inherit', 'ipc', exported.fd.number] as const;
fork(mapper, { stdio: [...stdio] });
process.send?.({ id: lease.record.id });
