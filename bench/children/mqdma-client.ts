// A client of a broker that works with an mqdma queue: `mqdma-client <control socket>`.
import { MiB } from '../../src/base/units.js';
import { connect, type Lease } from '../../src/client/index.js';
import { Queue } from '../../src/client/mqdma/index.js';
import { sampleCalls } from '../interleave.js';
import { serveSamples } from './sampling.js';

const memoryBytes = 16 * MiB;
const copyBytes = MiB;
/** After this many looks at a completion, the event loop gets a turn. */
const looksMax = 100_000;

interface Held {
  readonly lease: Lease;
  readonly queue: Queue;
}

const client = await connect({ socket: process.argv[2] ?? '' });

async function take(revocation?: string): Promise<Held> {
  const terms = revocation === undefined ? {} : { revocation };
  const lease = await client.acquire({ memoryBytes, ...terms });
  return { lease, queue: await Queue.create(lease, { spinMicros: 1000 }) };
}

const mapped = await take();
const data = await mapped.lease.memory.allocate(2 * copyBytes);
let mediated: Held | undefined;

/** Spins for a completion, without a turn of the event loop. */
function isDoneSoon(queue: Queue, ticket: number): boolean {
  for (let looks = 0; looks < looksMax; looks++) {
    queue.poll();
    if (queue.isDone(ticket)) return true;
  }
  return false;
}

/** The same as often as it takes: what came by message is handled in between. */
async function finish(queue: Queue, ticket: number): Promise<void> {
  while (!isDoneSoon(queue, ticket)) await new Promise(setImmediate);
}

/** Samples of `batch` operations, one after the other. */
async function sampleOperations(
  sampleCount: number,
  batch: number,
  submit: (queue: Queue) => number,
): Promise<number[]> {
  const { queue } = mapped;
  // Wakes the device.
  await queue.nop();
  const samples = await sampleCalls(sampleCount, async () => {
    for (let index = 0; index < batch; index++) {
      const ticket = submit(queue);
      queue.ring();
      if (!isDoneSoon(queue, ticket)) await finish(queue, ticket);
    }
  });
  return samples.map((ns) => ns / batch);
}

function nops(sampleCount: number, batch: number): Promise<number[]> {
  return sampleOperations(sampleCount, batch, (queue) => queue.submitNop());
}

function copies(sampleCount: number, batch: number): Promise<number[]> {
  const { iova } = data;
  return sampleOperations(sampleCount, batch, (queue) =>
    queue.submitCopy(iova, iova + copyBytes, copyBytes),
  );
}

async function messages(sampleCount: number): Promise<number[]> {
  mediated ??= await take('mediated');
  const { queue } = mediated;
  return sampleCalls(sampleCount, () => queue.nop());
}

/** From the request for a lease to the first completion; the release is not timed. */
async function acquisitions(sampleCount: number): Promise<number[]> {
  const samples: number[] = [];
  for (let index = 0; index < sampleCount; index++) {
    const startMs = performance.now();
    const { lease, queue } = await take();
    await queue.nop();
    samples.push((performance.now() - startMs) * 1e6);
    await queue[Symbol.asyncDispose]();
    await lease.close();
  }
  return samples;
}

data.u8.fill(0x5a, 0, copyBytes);
await serveSamples({ nop: nops, message: messages, copy: copies, acquire: acquisitions });
await mediated?.lease.close();
await mapped.lease.close();
client.close();
