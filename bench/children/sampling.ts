// The child's side of the sampling protocol of floor/floor.h.
import { createInterface } from 'node:readline';

/** Answers "<what> <samples> <batch>" lines until end-of-file, then returns. */
export async function serveSamples(
  operations: Readonly<
    Record<string, (sampleCount: number, batch: number) => number[] | Promise<number[]>>
  >,
): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const [what = '', samples = '', batch = ''] = line.split(' ');
    const take = operations[what];
    if (take === undefined) {
      process.stderr.write(`no operation ${what}\n`);
      process.exitCode = 1;
      return;
    }
    const taken = await take(Number(samples), Number(batch));
    process.stdout.write(`${taken.map((ns) => ns.toFixed(4)).join(' ')}\n`);
  }
}
