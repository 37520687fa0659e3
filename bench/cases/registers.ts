// One register load and store through a typed array over a window's memory, beside volatile C.
// Both run on one CPU in turn: two CPUs of a shared machine are never equally fast.
import type { BenchCase, BenchContext, Figure } from '../case.js';
import { interleave } from '../interleave.js';
import { SharedMemory } from '../shared-memory.js';

const batch = 200_000;
const samplesPerRound = 5;
const rounds = 40;
const target = { ratioMax: 2, valueMax: 1 };

async function run({ floors }: BenchContext): Promise<Figure[]> {
  using memory = new SharedMemory('registers', 4096);
  const options = { cpuIndex: 0, sharedFd: memory.fd.number };
  await using floor = floors.floor('registers', [], options);
  await using ours = floors.child('registers', [], options);
  const [loads, cLoads, stores, cStores] = await interleave(rounds, [
    () => ours.sample('load', samplesPerRound, batch),
    () => floor.sample('load', samplesPerRound, batch),
    () => ours.sample('store', samplesPerRound, batch),
    () => floor.sample('store', samplesPerRound, batch),
  ]);
  const note = `per access, p50 of ${loads!.count} x ${batch}; floor: volatile C`;
  return [
    { name: 'register/load', value: loads!.p50, unit: 'ns', floor: cLoads!.p50, target, note },
    { name: 'register/store', value: stores!.p50, unit: 'ns', floor: cStores!.p50, target, note },
  ];
}

export const registers: BenchCase = {
  name: 'register access',
  rows: ['register/load', 'register/store'],
  run,
};
