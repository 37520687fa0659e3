// Random and mutated frames against both roles: npm run test:fuzz -- [--frames N] [--seed N]
// [--batch N]. A failure names the seed and batch that show it again.
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { fuzz } from './fuzz.js';
import { unreached } from './reached.js';

const { values } = parseArgs({
  options: {
    frames: { type: 'string', default: '1000000' },
    seed: { type: 'string' },
    batch: { type: 'string' },
  },
});

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
say(`seed ${seed}`);
const startNs = process.hrtime.bigint();
const result = await fuzz({
  seed,
  frames: Number(values.frames),
  ...(values.batch === undefined ? {} : { batch: Number(values.batch) }),
});
for (const line of result.tally.lines()) say(line);
const seconds = Number((process.hrtime.bigint() - startNs) / 1_000_000n) / 1000;
const { frames, batches, kernelFrames, slowestMs, neighbourRequests, heapGrowthBytes } = result;
say(`${neighbourRequests} requests of the neighbour, the slowest ${slowestMs.toFixed(0)} ms`);
say(`heap ${heapGrowthBytes > 0 ? 'grew' : 'shrank'} by ${Math.abs(heapGrowthBytes)} bytes`);
const missing = values.batch === undefined ? unreached(result.tally) : [];
for (const line of missing) say(`NOT REACHED: ${line}`);
say(
  `${frames} frames (${kernelFrames} over the kernel) in ${batches} batches, ${seconds.toFixed(0)} s`,
);
process.exitCode = missing.length === 0 ? 0 : 1;
