// Translations by the software IOMMU, random over all mappings of one address space, beside the
// same walk in C.
import type { BenchCase, BenchContext, Figure } from '../case.js';
import { interleave } from '../interleave.js';

const batch = 2 ** 16;
const samplesPerRound = 4;
const rounds = 12;
const nsMax = 40;
/** How much slower a large address space may be than a small one. */
const growthMax = 8;
const growthRow = 'iommu/translate dense 1M against 1k';

const sizes = [
  { name: 'iommu/translate dense 1k', args: ['1000', 'dense'] },
  { name: 'iommu/translate dense 100k', args: ['100000', 'dense'] },
  { name: 'iommu/translate dense 1M', args: ['1000000', 'dense'] },
  { name: 'iommu/translate scattered 16k', args: ['16384', 'scattered'] },
] as const;

async function run({ floors }: BenchContext): Promise<Figure[]> {
  const options = { cpuIndex: 0 };
  const samplers = sizes.flatMap(({ args }) => [
    floors.child('translate', args, options),
    floors.floor('translate', args, options),
  ]);
  const summaries = await interleave(
    rounds,
    samplers.map((sampler) => () => sampler.sample('translate', samplesPerRound, batch)),
  ).finally(() => Promise.all(samplers.map((sampler) => sampler[Symbol.asyncDispose]())));
  const figures = sizes.map(({ name, args: [, layout] }, index): Figure => {
    const { p50: value, count } = summaries[index * 2]!;
    const floor = summaries[index * 2 + 1]!.p50;
    const note = `p50 of ${count} x ${batch}; floor: the walk in C`;
    const figure = { name, value, unit: 'ns', floor, note };
    return layout === 'dense' ? { ...figure, target: { valueMax: nsMax } } : figure;
  });
  const [small, , large] = figures;
  const growth: Figure = {
    name: growthRow,
    value: large!.value,
    unit: 'ns',
    floor: small!.value,
    target: { ratioMax: growthMax },
    note: 'floor: ours at 1k',
  };
  return [...figures, growth];
}

export const translate: BenchCase = {
  name: 'translation',
  rows: [...sizes.map(({ name }) => name), growthRow],
  run,
};
