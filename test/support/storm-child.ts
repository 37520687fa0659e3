// A client that takes leases, works with them and gives them back, without end, until it is killed.
import { connect } from '../../src/client/index.js';
import { Queue } from '../../src/client/mqdma/index.js';

const client = await connect({ socket: process.env.LESSOR_TEST_SOCKET ?? '' });
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
for (let round = 0; ; round += 1) {
  const lease = await client.acquire({
    memoryBytes: 1024 * 1024,
    waitMs: 10_000,
    enable: round % 4 !== 3,
    ...(round % 3 === 2 ? { revocation: 'mediated' } : {}),
  });
  if (round % 4 !== 3) {
    const queue = await Queue.create(lease, { entries: 8 });
    const data = await lease.memory.allocate(16_384);
    await Promise.all(
      [0, 4096].map((at) =>
        queue.fill({
          destination: data.iova + at,
          lengthBytes: 4096,
          pattern: 5n,
        }),
      ),
    );
    // Some go down with work under way.
    queue.submitCopy(data.iova, data.iova + 8192, 8192);
    queue.ring();
  }
  await lease.close();
}
