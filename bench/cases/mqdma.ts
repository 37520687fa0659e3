// The embedded device through a real broker: a client process that holds a lease, the device in the
// broker's worker, doorbell and completion in shared memory.
import { MiB } from '../../src/base/units.js';
import { BenchBroker } from '../broker.js';
import type { BenchCase, BenchContext, Figure } from '../case.js';
import { describeSpread, interleave } from '../interleave.js';
import { SharedMemory } from '../shared-memory.js';
import { measureLine } from './line.js';

const rows = ['mqdma/nop', 'mqdma/nop by message', 'mqdma/copy 1 MiB', 'lease/acquire'] as const;
const lineRounds = 10;

async function run({ floors }: BenchContext): Promise<Figure[]> {
  // Apart in time: two spinning pairs do not fit on two CPUs.
  const { c: line } = await measureLine(floors, lineRounds);
  await using broker = await BenchBroker.start(floors);
  using memory = new SharedMemory('copy', 2 * MiB);
  await using memcpy = floors.floor('copy', [], { cpuIndex: 0, sharedFd: memory.fd.number });
  await using client = floors.child('mqdma-client', [broker.socketPath], { cpuIndex: 0 });
  const [nop] = await interleave(10, [() => client.sample('nop', 100, 100)]);
  const [message] = await interleave(5, [() => client.sample('message', 200, 1)]);
  const [copy, cCopy] = await interleave(10, [
    () => client.sample('copy', 10, 4),
    () => memcpy.sample('copy', 10, 4),
  ]);
  const [acquire] = await interleave(3, [() => client.sample('acquire', 10, 1)]);
  return [
    {
      name: rows[0],
      value: nop!.p50,
      unit: 'ns',
      floor: line.p50,
      target: { ratioMax: 6 },
      note: `doorbell to completion, ${describeSpread(nop!, 1, 'ns')} of 100; floor: C line`,
    },
    {
      name: rows[1],
      value: message!.p50 / 1000,
      unit: 'us',
      floor: nop!.p50 / 1000,
      note: `${describeSpread(message!, 1000, 'us')}; floor: mapped`,
    },
    {
      name: rows[2],
      value: copy!.p50 / 1000,
      unit: 'us',
      floor: cCopy!.p50 / 1000,
      note: `${describeSpread(copy!, 1000, 'us')} of 4; floor: memcpy`,
    },
    {
      name: rows[3],
      value: acquire!.p50 / 1e6,
      unit: 'ms',
      target: { valueMax: 5 },
      note: `to the first completion, ${describeSpread(acquire!, 1e6, 'ms')}`,
    },
  ];
}

export const mqdma: BenchCase = { name: 'mqdma', rows, run };
