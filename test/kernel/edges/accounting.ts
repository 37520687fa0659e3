// Edges of accounting. The limit is 3 MiB, the pool 4 MiB.
import { faultQueueAlloc } from '../commands/faults.js';
import { mockReplace } from '../commands/mock.js';
import { mapDma, option, vfioIoas } from '../commands/options.js';
import { at } from '../memory.js';
import {
  apertureStart,
  copyTo,
  device,
  type Edge,
  mapMemory,
  mapPool,
  newHwpt,
  newIoas,
  step,
  u64Max,
  unmapAt,
} from './edge.js';

const MiB = 0x10_0000n;
const most = { length: 3n * MiB };

const setMode = (value: bigint) => {
  return step(option, { id: 0, op: 0, reserved: 0, object: { raw: 0 }, none: true, value });
};
const getMode = step(option, {
  id: 0,
  op: 1,
  reserved: 0,
  object: { raw: 0 },
  none: true,
  value: 9n,
});

/** Everything that may pin is tried when there is nothing left. */
const exhaustion: Edge['steps'] = [
  newIoas,
  device(1),
  mapPool(1, apertureStart, { length: 4n * MiB }),
  mapPool(1, apertureStart, most),
  mapPool(1, apertureStart + 4n * MiB),
  mapMemory(1, apertureStart + 4n * MiB),
  // Shared memory is charged once.
  copyTo(1, apertureStart + 4n * MiB, { range: { iova: apertureStart, length: 3n * MiB } }),
  newIoas,
  mapPool(5, apertureStart),
  device(5),
  newHwpt(3, 5, 0),
  step(mockReplace, { mock: { raw: 2 }, target: { raw: 5 } }),
  copyTo(1, apertureStart + 12n * MiB, { from: { raw: 5 } }),
  step(vfioIoas, { ioas: { raw: 1 }, op: 1, reserved: 0 }),
  step(mapDma, {
    ...{ argsz: 32, flags: 3, address: BigInt(at.pool), length: 0x1000n },
    iova: apertureStart + 16n * MiB,
  }),
  unmapAt(1, apertureStart, 3n * MiB),
  mapMemory(1, apertureStart + 12n * MiB),
  unmapAt(1, 0n, u64Max),
  mapPool(1, apertureStart, most),
];

export const accountingEdges: readonly Edge[] = [
  { name: 'no memory may be locked any more', steps: exhaustion },
  // What the last context had left must have come back.
  { name: 'no memory may be locked any more, again', steps: exhaustion },
  { name: 'who may not choose how memory counts', steps: [getMode, setMode(1n), setMode(0n)] },
];

/** With every privilege. */
export const privilegedEdges: readonly Edge[] = [
  {
    name: 'how memory counts is chosen before there is an object',
    steps: [
      getMode,
      setMode(1n),
      getMode,
      setMode(2n),
      setMode(0n),
      getMode,
      newIoas,
      setMode(1n),
      setMode(2n),
      step(faultQueueAlloc, { flags: 0 }),
    ],
  },
  {
    name: 'who may lock all is not counted',
    steps: [
      newIoas,
      device(1),
      mapPool(1, apertureStart, { length: 4n * MiB }),
      mapPool(1, apertureStart + 4n * MiB, { length: 4n * MiB }),
    ],
  },
];
