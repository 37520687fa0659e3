// A client that was passed the descriptor of another lease's window, at 4: maps it into a lease of
// its own, and has its device write there until that is refused. Says on stdout what it saw.
import { adoptFd, connect } from '../../src/client/index.js';
import { Queue } from '../../src/client/mqdma/index.js';

const unusedBytes = 2048;

// Whoever passed it may be gone.
process.on('disconnect', () => undefined);
const client = await connect({ socket: process.env.LESSOR_TEST_SOCKET ?? '' });
const lease = await client.acquire({ memoryBytes: 1024 * 1024 });
using fd = adoptFd(4);
try {
  const { iova } = await lease.map({ fd, lengthBytes: 4096 });
  const queue = await Queue.create(lease, { entries: 16 });
  const fill = (): Promise<void> =>
    queue.fill({ destination: iova + unusedBytes, lengthBytes: unusedBytes, pattern: 1n });
  await fill();
  console.log('writes');
  for (;;) await fill();
} catch (error) {
  const { code, errno, message } = error as { code?: string; errno?: string; message: string };
  console.log(`${code ?? errno}: ${message}`);
}
await lease.close();
client.close();
