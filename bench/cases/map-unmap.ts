// Mapping one page and unmapping it again, through an address space, as a lease does.
import type { BenchCase, BenchContext, Figure } from '../case.js';
import { interleave } from '../interleave.js';

const batch = 8;
const samplesPerRound = 500;
const rounds = 4;
/** A million mappings may cost this much more than a thousand. */
const flatMax = 2;

const sizes = [
  { label: '1k', count: '1000' },
  { label: '100k', count: '100000' },
  { label: '1M', count: '1000000' },
] as const;
const states = [
  { state: 'asleep', microsMax: 2 },
  { state: 'running', microsMax: 5 },
] as const;

function rowName(state: string, label: string): string {
  return `iommu/pair ${state} ${label}`;
}

async function run({ floors }: BenchContext): Promise<Figure[]> {
  // Not pinned: a running worker needs a CPU of its own.
  const children = sizes.map(({ count }) => floors.child('map-unmap', [count]));
  try {
    const figures: Figure[] = [];
    for (const { state, microsMax } of states) {
      const summaries = await interleave(
        rounds,
        children.map((child) => () => child.sample(state, samplesPerRound, batch)),
      );
      const floor = summaries[0]!.p50 / 1000;
      for (const [index, { label }] of sizes.entries()) {
        const { p50, count } = summaries[index]!;
        const figure = { name: rowName(state, label), value: p50 / 1000, unit: 'us' };
        const note = `p50 of ${count} x ${batch} pairs`;
        if (index === 0) figures.push({ ...figure, target: { valueMax: microsMax }, note });
        else {
          const target = { valueMax: microsMax, ratioMax: flatMax };
          figures.push({ ...figure, floor, target, note: `${note}; floor: ours at 1k` });
        }
      }
    }
    return figures;
  } finally {
    await Promise.all(children.map((child) => child[Symbol.asyncDispose]()));
  }
}

export const mapUnmap: BenchCase = {
  name: 'map and unmap',
  rows: states.flatMap(({ state }) => sizes.map(({ label }) => rowName(state, label))),
  run,
};
