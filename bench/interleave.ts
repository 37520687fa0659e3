// Takes samples of several things in turn, so that what disturbs one disturbs all.
import { type Summary, summarize } from './statistics.js';

/** Takes some samples: nanoseconds per operation. */
export type TakeSamples = () => number[] | Promise<number[]>;

/**
 * Runs every source once to warm up, then `rounds` times in turn.
 *
 * @returns One summary for each source, in their order.
 */
export async function interleave(
  rounds: number,
  sources: readonly TakeSamples[],
): Promise<Summary[]> {
  const samples = sources.map((): number[] => []);
  for (const take of sources) await take();
  for (let round = 0; round < rounds; round++) {
    for (const [index, take] of sources.entries()) samples[index]!.push(...(await take()));
  }
  return samples.map((some) => summarize(some));
}

/** Runs `body(batch)` `sampleCount` times. @returns Nanoseconds per operation. */
export function sampleBatches(
  sampleCount: number,
  batch: number,
  body: (batch: number) => void,
): number[] {
  const samples: number[] = [];
  for (let index = 0; index < sampleCount; index++) {
    const startMs = performance.now();
    body(batch);
    samples.push(((performance.now() - startMs) * 1e6) / batch);
  }
  return samples;
}

/** Times each of `sampleCount` calls. @returns Nanoseconds per call. */
export async function sampleCalls(
  sampleCount: number,
  body: (index: number) => Promise<unknown>,
): Promise<number[]> {
  const samples: number[] = [];
  for (let index = 0; index < sampleCount; index++) {
    const startMs = performance.now();
    await body(index);
    samples.push((performance.now() - startMs) * 1e6);
  }
  return samples;
}

/** "p99 1.23 us, 2000 samples": the note of a figure whose value is a p50. */
export function describeSpread(summary: Summary, scale: number, unit: string): string {
  const p99 = Number((summary.p99 / scale).toPrecision(3));
  return `p99 ${p99} ${unit}, ${summary.count} samples`;
}
