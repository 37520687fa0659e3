// Runs batches until so many frames were sent, watching what must hold throughout: descriptors,
// memory, and a neighbour in the same process who must not notice.
import { systemClock } from '../../src/os/clock.js';
import { openCount } from '../../src/os/testing/open-descriptors.js';
import type { Batch } from './batch.js';
import { clientBatch } from './client-batch.js';
import { inMemory, onKernel } from './fuzz-world.js';
import { Neighbour } from './neighbour.js';
import { Random } from './random.js';
import { recordedCommands } from './recorded.js';
import { recordSeeds } from './seeds.js';
import { serverBatch } from './server-batch.js';
import { Tally } from './tally.js';

export interface FuzzOptions {
  readonly seed: number;
  readonly frames: number;
  /** This batch alone. */
  readonly batch?: number;
  readonly onProgress?: (frames: number) => void;
}

export interface FuzzResult {
  readonly frames: number;
  readonly batches: number;
  readonly kernelFrames: number;
  readonly slowestMs: number;
  readonly neighbourRequests: number;
  readonly heapGrowthBytes: number;
  readonly tally: Tally;
}

const batchFrames = 120;
const batchMsMax = 20_000;
const neighbourMsMax = 2000;
const heapGrowthBytesMax = 64 * 1024 * 1024;

function check(condition: boolean, what: () => string): void {
  if (!condition) throw new TypeError(what());
}

/** Of a hundred batches, 30 are against a client, and 6 go over the kernel's sockets. */
function planOf(random: Random): { readonly run: typeof serverBatch; readonly isKernel: boolean } {
  const run = random.percent(30) ? clientBatch : serverBatch;
  return { run, isKernel: random.percent(6) };
}

async function withDeadline<T>(work: Promise<T>): Promise<T> {
  let timer: Disposable | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const fail = (): void => reject(new TypeError(`does not end in ${batchMsMax} ms`));
    timer = systemClock.after(batchMsMax, fail);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    timer?.[Symbol.dispose]();
  }
}

function heapBytes(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

/**
 * @throws TypeError with seed and number of the batch when anything does not hold.
 */
export async function fuzz(options: FuzzOptions): Promise<FuzzResult> {
  // A million refusals with a stack each would take most of the time; a replay has them.
  const { stackTraceLimit } = Error;
  if (options.batch === undefined) Error.stackTraceLimit = 0;
  const recorded = recordedCommands();
  const seeds = [...(await recordSeeds()), ...recorded.ofClient];
  const tally = new Tally();
  const neighbour = await Neighbour.start();
  const before = openCount();
  let frames = 0;
  let kernelFrames = 0;
  let number = options.batch ?? 0;
  let warmBytes: number | undefined;
  const one = async (): Promise<void> => {
    const random = new Random(Math.imul(options.seed, 0x9e3779b1) + number);
    const { run, isKernel } = planOf(random);
    const fuzzWorld = isKernel ? onKernel() : inMemory();
    const batch: Batch = { random, fuzzWorld, tally, seeds, recorded, frames: batchFrames, check };
    const sent = await withDeadline(run(batch));
    check(
      openCount() === before || !isKernel,
      () => `${openCount()} descriptors, ${before} before`,
    );
    frames += sent;
    if (isKernel) kernelFrames += sent;
  };
  try {
    do {
      await one();
      number++;
      if (number % 64 === 0) options.onProgress?.(frames);
      if (warmBytes === undefined && frames > options.frames / 5) warmBytes = heapBytes();
    } while (options.batch === undefined && frames < options.frames);
  } catch (error) {
    const what = `seed ${options.seed}, batch ${number}: ${(error as Error).message}`;
    throw new TypeError(what, { cause: error });
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    await neighbour.stop();
  }
  const heapGrowthBytes = heapBytes() - (warmBytes ?? 0);
  check(heapGrowthBytes < heapGrowthBytesMax, () => `the heap grew by ${heapGrowthBytes} bytes`);
  const { slowestMs, requests: neighbourRequests } = neighbour;
  check(slowestMs < neighbourMsMax, () => `the neighbour waited for ${slowestMs} ms`);
  return {
    frames,
    batches: number,
    kernelFrames,
    slowestMs,
    neighbourRequests,
    heapGrowthBytes,
    tally,
  };
}
