// The work of floor/vfio-user-client.c in JavaScript: `vfio-user-client <socket path>`.
import { MiB } from '../../src/base/units.js';
import { systemClock } from '../../src/os/clock.js';
import { createOs } from '../../src/os/os.js';
import { connectVfioUser, DmaTable } from '../../src/vfio-user/index.js';
import { sampleCalls } from '../interleave.js';
import { dmaBytes, dmaReadDoorbell, dmaWriteDoorbell, inFlightCount } from '../vfio-user-device.js';
import { serveSamples } from './sampling.js';

const os = createOs();
const socket = os.sockets.connect(process.argv[2] ?? '');
const dma = new DmaTable();
dma.add({ iova: 0n, bytes: new Uint8Array(dmaBytes) });
const client = await connectVfioUser(socket, { clock: systemClock, dma });
const memory = os.memory.create('lessor-bench-dma', MiB);
const word = new Uint8Array(4);

type Work = (operations: number) => Promise<void>;

/** Samples of `batch` operations each. */
function sampled(work: Work): (sampleCount: number, batch: number) => Promise<number[]> {
  return async (sampleCount, batch) => {
    const samples = await sampleCalls(sampleCount, () => work(batch));
    return samples.map((ns) => ns / batch);
  };
}

async function reads(operations: number): Promise<void> {
  for (let index = 0; index < operations; index++) await client.read32(0, 0);
}

async function readsInFlight(operations: number): Promise<void> {
  let left = operations;
  async function next(): Promise<void> {
    while (left-- > 0) await client.read32(0, 0);
  }
  await Promise.all(Array.from({ length: inFlightCount }, next));
}

/** Done when the server has executed the last one: a read comes after them. */
async function postedWrites(operations: number): Promise<void> {
  for (let index = 0; index < operations; index++) client.regionWritePosted(0, 8, word);
  await client.read32(0, 0);
}

async function maps(operations: number): Promise<void> {
  const iova = 0n;
  const lengthBytes = BigInt(MiB);
  for (let index = 0; index < operations; index++) {
    const fd = memory.duplicate();
    await client.dmaMap({ iova, lengthBytes, offsetBytes: 0n, readable: true, writable: true, fd });
    await client.dmaUnmap({ iova, lengthBytes });
  }
}

/** The reply comes when the server's last message has been answered. */
function dmaBy(doorbell: number): Work {
  return (operations) => client.write32(0, doorbell, operations);
}

await serveSamples({
  read: sampled(reads),
  read32: sampled(readsInFlight),
  posted: sampled(postedWrites),
  map: sampled(maps),
  'dma-read': sampled(dmaBy(dmaReadDoorbell)),
  'dma-write': sampled(dmaBy(dmaWriteDoorbell)),
});
memory.close();
client.close();
