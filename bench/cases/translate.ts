// Translations by the software IOMMU, random over all mappings of one address space.
import type { BenchCase, BenchContext, Figure } from '../case.js';
import { interleave } from '../interleave.js';

const batch = 2 ** 16;
const samplesPerRound = 4;
const rounds = 12;
const nsMax = 40;
/** How much slower a large address space may be than a small one. */
const ratioMax = 8;

const sizes = [
  { name: 'translate/dense 1k', count: '1000', layout: 'dense' },
  { name: 'translate/dense 100k', count: '100000', layout: 'dense' },
  { name: 'translate/dense 1M', count: '1000000', layout: 'dense' },
  { name: 'translate/scattered 16k', count: '16384', layout: 'scattered' },
] as const;

async function run({ floors }: BenchContext): Promise<Figure[]> {
  const children = sizes.map(({ count, layout }) =>
    floors.child('translate', [count, layout], { cpuIndex: 0 }),
  );
  const summaries = await interleave(
    rounds,
    children.map((child) => () => child.sample('translate', samplesPerRound, batch)),
  ).finally(() => Promise.all(children.map((child) => child[Symbol.asyncDispose]())));
  const floor = summaries[0]!.p50;
  return sizes.map(({ name, layout }, index): Figure => {
    const { p50, count } = summaries[index]!;
    const figure = { name, value: p50, unit: 'ns', note: `p50 of ${count} x ${batch}` };
    if (layout === 'scattered') return { ...figure, floor };
    if (index === 0) return { ...figure, target: { valueMax: nsMax } };
    return { ...figure, floor, target: { valueMax: nsMax, ratioMax } };
  });
}

export const translate: BenchCase = {
  name: 'translation',
  rows: sizes.map(({ name }) => name),
  run,
};
