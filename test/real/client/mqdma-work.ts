// Copies and checksums by a queue of mqdma, every byte compared.
import type { Lease } from '../../../src/client/lease.js';
import type { LeaseMemory } from '../../../src/client/lease-memory.js';
import { Queue } from '../../../src/client/mqdma/index.js';
import { crc32c } from '../../../src/device/mqdma/crc32c.js';
import type { Aim } from './calls.js';
import { firstDifference, patterned, type Work, type Workshop } from './work.js';

const blockBytes = 12_288;
const aimedBytes = 256;
/** So that operations cross pages at odd places. */
const oddBytes = 61;

class MqdmaWork implements Work {
  readonly window = 'status';
  readonly #queue: Queue;
  readonly #data: LeaseMemory;

  constructor(queue: Queue, data: LeaseMemory) {
    this.#queue = queue;
    this.#data = data;
  }

  async round(round: number): Promise<string> {
    const { u8, u32, iova } = this.#data;
    const source = u8.subarray(oddBytes, oddBytes + blockBytes);
    const at = 2 * blockBytes + oddBytes;
    const target = u8.subarray(at, at + blockBytes).fill(0);
    patterned(source, round);
    const operation = { source: iova + oddBytes, lengthBytes: blockBytes };
    const [, sum] = await Promise.all([
      this.#queue.copy({ ...operation, destination: iova + at }),
      this.#queue.crc32c(operation),
    ]);
    const difference = firstDifference(target, source);
    if (difference !== undefined) return `copy ${round}: ${difference}`;
    const wanted = crc32c(0, u8, u32, oddBytes, blockBytes);
    return sum === wanted ? 'ok' : `crc32c ${round}: ${sum}, not ${wanted}`;
  }

  async submit(): Promise<void> {
    const { iova } = this.#data;
    this.#queue.submitCopy(iova, iova + 2 * blockBytes, blockBytes);
    this.#queue.ring();
  }

  async aim({ iova, access }: Aim): Promise<string> {
    const own = this.#data.iova;
    const [source, destination] = access === 'read' ? [iova, own] : [own, iova];
    try {
      await this.#queue.copy({ source, destination, lengthBytes: aimedBytes });
      return 'done';
    } catch (error) {
      await this.#queue.reset();
      return (error as Error).message;
    }
  }
}

export const mqdmaWorkshop: Workshop = {
  kind: 'queue',
  memoryBytes: 1024 * 1024,
  dataBytes: 65_536,
  async open(lease: Lease, data: LeaseMemory): Promise<Work> {
    return new MqdmaWork(await Queue.create(lease, { entries: 16, spinMicros: 50 }), data);
  },
};
