// What one mapping costs in memory: the pages of its table, and all that the process keeps for it.
import { assert } from '../../src/base/errors.js';
import type { BenchCase, BenchContext, Figure } from '../case.js';

const layouts = [
  // A word a page; the nodes above are one in 512.
  { layout: 'dense', label: 'dense 1M', count: 1_000_000, tableBytesMax: 5, bytesMax: 384 },
  // Two nodes for each: nothing else maps the 1 GiB around it.
  {
    layout: 'scattered',
    label: 'scattered 16k',
    count: 16_384,
    tableBytesMax: 4200,
    bytesMax: 5120,
  },
] as const;

function rowNames(label: string): { readonly tables: string; readonly process: string } {
  return { tables: `iommu/table bytes ${label}`, process: `iommu/bytes ${label}` };
}

async function run({ floors }: BenchContext): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const { layout, label, count, tableBytesMax, bytesMax } of layouts) {
    await using child = floors.child('iommu-bytes', [String(count), layout]);
    const bytes = (await child.line()).split(' ').map((text) => Number(text) / count);
    const [tables, heap, whole] = bytes;
    assert(tables !== undefined && heap !== undefined && whole !== undefined, 'three numbers');
    const names = rowNames(label);
    figures.push(
      {
        name: names.tables,
        value: tables,
        unit: 'B',
        target: { valueMax: tableBytesMax },
        note: `per mapping of a page, counted in table pages of ${count}`,
      },
      {
        name: names.process,
        value: whole,
        unit: 'B',
        target: { valueMax: bytesMax },
        note: `per mapping, resident; of it ${heap.toFixed(0)} B in the heap and its buffers`,
      },
    );
  }
  return figures;
}

export const iommuBytes: BenchCase = {
  name: 'bytes per mapping',
  rows: layouts.flatMap(({ label }) => Object.values(rowNames(label))),
  run,
};
