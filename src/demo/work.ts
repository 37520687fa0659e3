// Thousands of copies and checksums, every byte compared.
import type { LeaseMemory } from '../client/lease-memory.js';
import type { Queue } from '../client/mqdma/index.js';
import { crc32c } from '../device/mqdma/crc32c.js';
import type { WorkAnswer } from './client-calls.js';

/** Operations under way at a time. */
const batchCount = 16;
const blockBytes = 64 * 1024;
const lengthBytesMax = 16 * 1024;

/** A small generator with a seed, so that a run can be repeated. */
class Sequence {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 2654435761 + 1) >>> 0;
  }

  /** An integer in [0, limit). */
  below(limit: number): number {
    // xorshift32
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state >>> 0;
    return this.#state % limit;
  }
}

interface Job {
  readonly source: number;
  readonly destination: number;
  readonly lengthBytes: number;
}

/** A slot of its own for each job: source and destination never overlap another's. */
function makeJob(slot: number, sequence: Sequence): Job {
  const base = slot * 2 * blockBytes;
  const lengthBytes = 1 + sequence.below(lengthBytesMax);
  return {
    source: base + sequence.below(blockBytes - lengthBytes),
    destination: base + blockBytes + sequence.below(blockBytes - lengthBytes),
    lengthBytes,
  };
}

/** Copies, checks every byte of the copy and one beyond on each side, and its crc32c. */
export async function runWork(
  queue: Queue,
  data: LeaseMemory,
  plan: { operations: number; seed: number },
): Promise<WorkAnswer> {
  const sequence = new Sequence(plan.seed);
  let operations = 0;
  let bytes = 0;
  for (let at = 0; at < data.u32.length; at += 1) data.u32[at] = sequence.below(2 ** 32);
  while (operations < plan.operations) {
    const jobs = Array.from({ length: batchCount }, (_, slot) => makeJob(slot, sequence));
    for (const job of jobs)
      data.u8.fill(0x5a, job.destination - 1, job.destination + job.lengthBytes + 1);
    const sums = await Promise.all(
      jobs.map(async ({ source, destination, lengthBytes }) => {
        await queue.copy({
          source: data.iova + source,
          destination: data.iova + destination,
          lengthBytes,
        });
        return queue.crc32c({ source: data.iova + destination, lengthBytes });
      }),
    );
    for (const [slot, job] of jobs.entries()) {
      const wrong = firstWrong(data, job, sums[slot] ?? 0);
      if (wrong !== undefined) return { operations, bytes, wrong };
      operations += 2;
      bytes += job.lengthBytes;
    }
  }
  return { operations, bytes };
}

function firstWrong(data: LeaseMemory, job: Job, sum: number): string | undefined {
  const memory = data.u8;
  const { source, destination, lengthBytes } = job;
  const wanted = memory.subarray(source, source + lengthBytes);
  const copied = memory.subarray(destination, destination + lengthBytes);
  if (Buffer.compare(wanted, copied) !== 0) {
    const index = copied.findIndex((byte, at) => byte !== wanted[at]);
    return `byte ${index} of ${lengthBytes} copied to ${destination}`;
  }
  const edges = [memory[destination - 1], memory[destination + lengthBytes]];
  if (edges.some((byte) => byte !== 0x5a)) return `a byte beside the copy to ${destination}`;
  const expected = crc32c(0, memory, data.u32, source, lengthBytes);
  return expected === sum ? undefined : `crc32c ${sum} instead of ${expected}`;
}
