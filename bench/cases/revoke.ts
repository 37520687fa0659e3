// Taking a 64 KiB window away from a client that is busy reading it, with many other windows.
import type { BenchCase, BenchContext, Figure } from '../case.js';
import { interleave } from '../interleave.js';

const samplesPerRound = 100;
const rounds = 4;
const otherCount = 1000;
const rows = ['revoke/64 KiB p50', 'revoke/64 KiB p99'] as const;

async function run({ floors }: BenchContext): Promise<Figure[]> {
  const children = ['0', String(otherCount)].map((others) => floors.child('revoke', [others]));
  const [alone, crowded] = await interleave(
    rounds,
    children.map((child) => () => child.sample('revoke', samplesPerRound, 1)),
  ).finally(() => Promise.all(children.map((child) => child[Symbol.asyncDispose]())));
  const note = `detach and zap, ${otherCount} other windows, ${crowded!.count} samples; floor: alone`;
  return [
    { name: rows[0], value: crowded!.p50 / 1000, unit: 'us', floor: alone!.p50 / 1000, note },
    {
      name: rows[1],
      value: crowded!.p99 / 1000,
      unit: 'us',
      floor: alone!.p99 / 1000,
      target: { valueMax: 1000 },
      note,
    },
  ];
}

export const revoke: BenchCase = { name: 'revoke', rows, run };
