// Edges of the legacy container calls.
import { iovaRanges } from '../commands/ioas.js';
import {
  checkExtension,
  getInfo,
  mapDma,
  setIommu,
  unknownNumber,
  unmapDma,
  vfioIoas,
} from '../commands/options.js';
import { at, dataAt } from '../memory.js';
import { apertureStart, device, type Edge, newIoas, page, step, u64Max } from './edge.js';

const use = (ioas: number) => step(vfioIoas, { ioas: { raw: ioas }, op: 1, reserved: 0 });
const type = (number: number) => step(setIommu, { type: number });
const info = (argsz: number) => step(getInfo, { argsz });
const hole = { kind: 'place', place: 'hole' } as const;

function mapAt(iova: bigint, length = page, more: { argsz?: number; flags?: number } = {}) {
  return step(mapDma, { argsz: 32, flags: 3, address: BigInt(at.pool), iova, length, ...more });
}

function unmapAt(iova: bigint, length = page, more: { argsz?: number; flags?: number } = {}) {
  const range = { iova, length };
  return step(unmapDma, { argsz: 24, flags: 0, ioas: { pick: 0 }, range, ...more });
}

export const containerEdges: readonly Edge[] = [
  {
    name: 'a container without an address space',
    steps: [
      ...Array.from({ length: 12 }, (_, extension) => step(checkExtension, { extension })),
      type(1),
      type(2),
      info(24),
      info(15),
      mapAt(0n),
      mapAt(0n, page, { argsz: 31 }),
      mapAt(0n, page, { flags: 4 }),
      unmapAt(0n),
      unmapAt(0n, page, { argsz: 23 }),
      step(mapDma, { argsz: 32, flags: 3, address: 0n, iova: 0n, length: page }, hole),
      step(
        unmapDma,
        { argsz: 24, flags: 0, ioas: { pick: 0 }, range: { iova: 0n, length: page } },
        hole,
      ),
      step(getInfo, { argsz: 24 }, hole),
      ...[0x63, 0x67, 0x73, 0x75, 0x7f, 0x96, 0xff].map((nr) => step(unknownNumber, { nr })),
    ],
  },
  {
    name: 'maps and unmaps of type 1 version 2',
    steps: [
      newIoas,
      use(1),
      type(3),
      mapAt(apertureStart),
      mapAt(apertureStart),
      mapAt(apertureStart + page, 2n * page),
      mapAt(0n, 0n),
      mapAt(u64Max, 2n),
      mapAt(u64Max - page + 1n),
      mapAt(0n, page, { flags: 0 }),
      unmapAt(apertureStart + page),
      unmapAt(apertureStart, 2n * page),
      unmapAt(apertureStart + 16n * page),
      unmapAt(0n, 0n),
      unmapAt(u64Max, 2n),
      unmapAt(0n, 1n, { flags: 2 }),
      unmapAt(0n, 0n, { flags: 2 }),
      unmapAt(0n, 0n, { flags: 2 }),
    ],
  },
  {
    name: 'type 1 cuts what an unmap begins or ends in',
    steps: [
      newIoas,
      use(1),
      type(1),
      mapAt(apertureStart, 8n * page),
      unmapAt(apertureStart + page, 2n * page),
      unmapAt(apertureStart + page, 2n * page),
      unmapAt(apertureStart + 0x800n, page),
      unmapAt(apertureStart + 5n * page, 100n * page),
      unmapAt(0n, 100n * apertureStart),
    ],
  },
  {
    name: 'the information of a container, byte by byte',
    steps: [
      newIoas,
      use(1),
      ...[16, 20, 24, 32, 36, 40, 48, 56, 64, 72, 80, 88, 128].map(info),
      device(1),
      ...[16, 20, 24, 32, 36, 40, 48, 56, 64, 72, 80, 88, 128].map(info),
      type(1),
      step(iovaRanges, { ioas: { raw: 1 }, count: 4, reserved: 0, pointer: dataAt }),
      mapAt(apertureStart),
      type(1),
      info(128),
    ],
  },
];
