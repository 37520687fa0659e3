// Edges of address spaces without a device.

import { ioasAlloc, iovaRanges } from '../commands/ioas.js';
import { addReserved } from '../commands/mock.js';
import { changeProcess, option, vfioIoas } from '../commands/options.js';
import { at, dataAt } from '../memory.js';
import {
  allow,
  apertureStart,
  copyTo,
  type Edge,
  mapMemory,
  mapPool,
  newIoas,
  page,
  remove,
  step,
  u64Max,
  unmapAt,
} from './edge.js';

const automatic = 6;
const top = u64Max - page + 1n;

function reserve(start: bigint, length: bigint, ioas = 1) {
  return step(addReserved, { ioas: { raw: ioas }, start, length });
}

function ranges(count: number, pointer: number = dataAt) {
  return step(iovaRanges, { ioas: { raw: 1 }, count, reserved: 0, pointer });
}

function setOption(id: number, op: number, object: number, value: bigint, reserved = 0) {
  return step(option, { id, op, reserved, object: { raw: object }, none: object === 0, value });
}

const windowEnd = apertureStart + 2n * page - 1n;

export const ioasEdges: readonly Edge[] = [
  {
    name: 'no room left',
    steps: [
      newIoas,
      newIoas,
      allow(1, { start: apertureStart, last: windowEnd }),
      mapPool(1, 0n, { flags: automatic }),
      mapMemory(1, 0n, { flags: automatic }),
      mapPool(1, 0n, { flags: automatic }),
      mapMemory(1, 0n, { flags: automatic }),
      allow(2, { start: apertureStart, last: apertureStart + page - 1n }),
      copyTo(2, 0n, { flags: automatic }),
      copyTo(2, 0n, { flags: automatic }),
      // What is fixed does not look at the list.
      mapPool(1, apertureStart + 4n * page),
    ],
  },
  {
    name: 'ranges at the end of the address space',
    steps: [
      newIoas,
      mapPool(1, top),
      mapMemory(1, top),
      mapPool(1, u64Max),
      mapPool(1, u64Max - 1n, { length: 1n }),
      mapPool(1, top + 1n),
      mapPool(1, 0n, { length: u64Max }),
      mapPool(1, 0n, { start: u64Max, length: 2n }),
      mapMemory(1, 0n, { absolute: u64Max - 0xfffn }),
      mapMemory(1, 0n, { length: u64Max - 1n }),
      mapPool(1, 0n, { flags: automatic, length: u64Max / 2n }),
      unmapAt(1, top, page),
      unmapAt(1, 1n, u64Max - 1n),
      unmapAt(1, u64Max - 1n, 2n),
      unmapAt(1, 2n, u64Max - 1n),
      unmapAt(1, u64Max, 1n),
      unmapAt(1, 0n, 0n),
      copyTo(1, u64Max),
      copyTo(1, 0n, { range: { iova: u64Max - 1n, length: 3n } }),
      copyTo(1, 0n, { range: { iova: 0n, length: 0n } }),
    ],
  },
  {
    name: 'unmap all, also of nothing',
    steps: [
      newIoas,
      unmapAt(1, 0n, u64Max),
      unmapAt(1, 0n, page),
      mapPool(1, 0n),
      mapPool(1, apertureStart, { length: 3n * page }),
      mapPool(1, top),
      unmapAt(1, 0n, u64Max),
      unmapAt(1, 0n, u64Max),
    ],
  },
  {
    name: 'an unmap that cuts removes what is before the cut',
    steps: [
      newIoas,
      mapPool(1, apertureStart),
      mapPool(1, apertureStart + page, { length: 2n * page }),
      unmapAt(1, apertureStart, 2n * page),
      mapPool(1, apertureStart),
      unmapAt(1, apertureStart + 2n * page, page),
      unmapAt(1, apertureStart + 1n, page - 1n),
      unmapAt(1, apertureStart - 1n, 4n * page),
    ],
  },
  {
    name: 'reserved and mapped ranges, and the allowed list',
    steps: [
      newIoas,
      reserve(apertureStart, page),
      reserve(apertureStart, 0n),
      reserve(u64Max, 2n),
      reserve(apertureStart, page, 7),
      mapPool(1, apertureStart + page),
      // Reserved comes before mapped.
      mapPool(1, apertureStart, { length: 2n * page }),
      mapPool(1, apertureStart + page),
      mapMemory(1, apertureStart + page),
      copyTo(1, apertureStart + page, { range: { iova: apertureStart + page, length: page } }),
      reserve(apertureStart + page, page),
      allow(1, { start: apertureStart, last: apertureStart + 1n }),
      allow(1, { start: apertureStart + page, last: windowEnd }),
      reserve(windowEnd, 1n),
      ranges(1),
      ranges(0, 0),
      ranges(4),
      ranges(4, at.hole),
      allow(1, { start: page, last: page }),
      allow(1, { start: 8n, last: 16n }, { start: 16n, last: 32n }),
      allow(1, { start: 64n, last: 96n }, { start: 0n, last: 63n }),
      allow(1),
    ],
  },
  {
    name: 'ids are reused from the lowest',
    steps: [newIoas, newIoas, newIoas, remove(2), remove(1), newIoas, newIoas, newIoas, remove(9)],
  },
  {
    name: 'copies',
    steps: [
      newIoas,
      newIoas,
      mapMemory(1, apertureStart, { flags: 5 }),
      mapMemory(1, apertureStart + page, { flags: 3, address: BigInt(at.pool) + page }),
      copyTo(2, apertureStart),
      copyTo(2, apertureStart, { flags: 5 }),
      copyTo(2, apertureStart + page, { range: { iova: apertureStart + page, length: page } }),
      copyTo(2, apertureStart + 4n * page, { range: { iova: apertureStart, length: 2n * page } }),
      copyTo(2, apertureStart + 4n * page, {
        flags: 5,
        range: { iova: apertureStart, length: 2n * page },
      }),
      copyTo(2, 0n, { range: { iova: apertureStart, length: 3n * page } }),
      copyTo(9, 0n),
      copyTo(2, 0n, { from: { raw: 9 } }),
      remove(1),
      unmapAt(2, apertureStart + 5n * page, page),
      unmapAt(2, 0n, u64Max),
    ],
  },
  {
    name: 'options',
    steps: [
      newIoas,
      setOption(0, 1, 0, 0n),
      setOption(0, 0, 0, 1n),
      setOption(0, 0, 0, 2n),
      setOption(0, 1, 1, 0n),
      setOption(1, 1, 1, 0n),
      setOption(1, 1, 7, 0n),
      setOption(1, 0, 1, 2n),
      setOption(1, 2, 1, 0n),
      setOption(2, 1, 1, 0n),
      setOption(1, 1, 1, 0n, 1),
      mapPool(1, apertureStart + 0x800n),
      setOption(1, 0, 1, 0n),
      unmapAt(1, 0n, u64Max),
      setOption(1, 0, 1, 0n),
      mapPool(1, apertureStart + 0x800n),
      setOption(1, 0, 1, 1n),
      mapPool(1, apertureStart + 0x800n),
    ],
  },
  {
    name: 'another process takes over',
    steps: [
      step(changeProcess, { reserved: 0 }),
      step(changeProcess, { reserved: 1 }),
      newIoas,
      mapPool(1, apertureStart),
      step(changeProcess, { reserved: 0 }),
      mapMemory(1, 0n),
      step(changeProcess, { reserved: 0 }),
    ],
  },
  {
    name: 'which address space containers use',
    steps: [
      step(vfioIoas, { ioas: { raw: 0 }, op: 0, reserved: 0 }),
      step(vfioIoas, { ioas: { raw: 1 }, op: 1, reserved: 0 }),
      newIoas,
      step(vfioIoas, { ioas: { raw: 1 }, op: 1, reserved: 0 }),
      step(vfioIoas, { ioas: { raw: 0 }, op: 0, reserved: 0 }),
      step(vfioIoas, { ioas: { raw: 1 }, op: 3, reserved: 0 }),
      step(vfioIoas, { ioas: { raw: 1 }, op: 1, reserved: 1 }),
      remove(1),
      step(vfioIoas, { ioas: { raw: 0 }, op: 0, reserved: 0 }),
      step(vfioIoas, { ioas: { raw: 0 }, op: 2, reserved: 0 }),
      step(ioasAlloc, { flags: 1 }),
      // An allocation that cannot be told is undone.
      step(ioasAlloc, { flags: 0 }, { kind: 'place', place: 'read-only' }),
      newIoas,
      // A map that cannot be told is not.
      step(ioasAlloc, { flags: 0 }, { kind: 'request', bits: 0x4000_0000 }),
    ],
  },
];
