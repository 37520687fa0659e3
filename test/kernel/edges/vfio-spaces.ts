// Edges of address spaces and page tables behind a real IOMMU: 48 bits, pages of 4 KiB, and a
// window for interrupts that no map may meet.
import { getDirty, setDirty } from '../commands/hwpt.js';
import { iovaRanges } from '../commands/ioas.js';
import { checkExtension, getInfo, option, vfioIoas } from '../commands/options.js';
import { at, dataAt } from '../memory.js';
import {
  allow,
  apertureStart,
  copyTo,
  type Edge,
  mapMemory,
  mapPool,
  newHwpt,
  newIoas,
  page,
  remove,
  step,
  u64Max,
  unmapAt,
} from './edge.js';
import { attach, bind, closeFile, detach, openFile } from './vfio-step.js';

const windowStart = 0xfee0_0000n;
const windowLast = 0xfeef_ffffn;
const apertureEnd = 1n << 48n;
const boundDevice = [openFile, newIoas, bind()];

function ranges(count: number, ioas = 1) {
  return step(iovaRanges, { ioas: { raw: ioas }, count, reserved: 0, pointer: dataAt });
}

function read(hwpt: number, more: Partial<Parameters<typeof getDirty.draft>[0]> = {}) {
  return step(getDirty, {
    ...{ hwpt: { raw: hwpt }, flags: 0, reserved: 0, area: undefined },
    ...{ iova: apertureStart, length: page, pageSize: page, pointer: dataAt },
    ...more,
  });
}

const container = step(vfioIoas, { ioas: { raw: 1 }, op: 1, reserved: 0 });

export const vfioSpaceEdges: readonly Edge[] = [
  {
    name: 'the addresses of a VFIO device',
    steps: [
      ...boundDevice,
      ranges(4),
      attach(1),
      ...[0, 1, 2, 3, 16].map((count) => ranges(count)),
      ...[windowStart - page, windowStart, windowLast - page + 1n, windowLast + 1n].map((iova) => {
        return mapPool(1, iova);
      }),
      mapPool(1, windowStart - page, { length: 2n * page }),
      ...[apertureEnd - page, apertureEnd, apertureEnd - 2n * page, u64Max - page + 1n].map(
        (iova) => mapPool(1, iova),
      ),
      mapPool(1, apertureEnd - 2n * page, { length: 2n * page }),
      mapPool(1, 0n),
      // Anywhere.
      mapPool(1, 0n, { flags: 6 }),
      allow(1, { start: windowStart, last: windowLast }),
      allow(1, { start: windowStart - page, last: windowStart }),
      allow(1, { start: apertureEnd - page, last: apertureEnd }),
      allow(1, { start: windowLast + 1n, last: apertureEnd - 1n }),
      mapPool(1, 0n, { flags: 6 }),
      detach(),
      ranges(4),
      mapPool(1, windowStart),
      attach(1),
      unmapAt(1, windowStart, page),
      attach(1),
      ranges(4),
    ],
  },
  {
    name: 'what stands against an attach of a VFIO device',
    steps: [
      ...boundDevice,
      allow(1, { start: windowStart, last: windowLast }),
      attach(1),
      allow(1, { start: 0n, last: apertureEnd }),
      attach(1),
      allow(1),
      mapPool(1, apertureEnd),
      attach(1),
      unmapAt(1, 0n, u64Max),
      mapPool(1, windowLast + 1n - page),
      attach(1),
      unmapAt(1, 0n, u64Max),
      mapMemory(1, apertureStart, { address: BigInt(at.hole) }),
      attach(1),
      unmapAt(1, 0n, u64Max),
      mapMemory(1, apertureStart, { address: BigInt(at.readOnlyPool) }),
      attach(1),
      unmapAt(1, 0n, u64Max),
      mapPool(1, apertureStart, { file: 1, length: 2n * page }),
      attach(1),
      unmapAt(1, 0n, u64Max),
      mapPool(1, apertureStart, { length: 4n << 20n }),
      attach(1),
      unmapAt(1, 0n, u64Max),
      ...[
        { length: 0x800n },
        { start: 0x800n, length: page },
        { start: 0x800n, length: 0x800n },
      ].flatMap((more) => [mapPool(1, apertureStart, more), attach(1), unmapAt(1, 0n, u64Max)]),
      mapPool(1, apertureStart + 0x800n),
      attach(1),
      unmapAt(1, 0n, u64Max),
      step(option, { id: 1, op: 0, reserved: 0, object: { raw: 1 }, none: false, value: 0n }),
      mapPool(1, apertureStart, { length: 3n * page }),
      attach(1),
      mapPool(1, apertureStart + 8n * page, { length: 0x800n }),
      mapPool(1, apertureStart + 8n * page, { start: 0x800n }),
      mapPool(1, apertureStart + 8n * page + 0x800n),
    ],
  },
  {
    name: 'a VFIO device goes from one address space to another',
    steps: [
      ...boundDevice,
      newIoas,
      mapPool(1, apertureStart, { length: 4n * page }),
      attach(1),
      mapPool(3, windowStart),
      attach(3),
      ranges(4),
      ranges(4, 3),
      unmapAt(3, 0n, u64Max),
      copyTo(3, apertureStart),
      attach(3),
      ranges(4),
      ranges(4, 3),
      copyTo(3, windowStart),
      copyTo(3, apertureStart + 8n * page, { range: { iova: apertureStart, length: 2n * page } }),
      unmapAt(1, apertureStart, 4n * page),
      closeFile(),
      ranges(4, 3),
      mapPool(3, windowStart),
    ],
  },
  {
    name: 'page tables of a VFIO device',
    steps: [
      ...boundDevice,
      ...[0, 1, 2, 3, 4, 8, 9, 10, 16, 0x8000_0000].map((flags) => newHwpt(2, 1, flags)),
      newHwpt(2, 1, 0, { reserved: 1 }),
      newHwpt(2, 1, 0, { data: { type: 1, length: 16, tail: 0, iotlb: 0, table: 0 } }),
      newHwpt(2, 1, 0, { data: { type: 0, length: 8, tail: 0, iotlb: 0, table: 0 } }),
      newHwpt(2, 1, 0, { data: { type: 0xdead, length: 8, tail: 0, iotlb: 7, table: 0 } }),
      newHwpt(2, 3, 0),
      newHwpt(2, 3, 0, { data: { type: 1, length: 16, tail: 0, iotlb: 0, table: 0 } }),
      newHwpt(1, 1, 0),
      newHwpt(2, 2, 0),
      newHwpt(2, 99, 0),
      mapPool(1, windowStart),
      newHwpt(2, 1, 0),
      mapPool(1, apertureEnd),
      newHwpt(2, 1, 0),
      attach(3),
      unmapAt(1, windowStart, page),
      attach(3),
      ranges(4),
      remove(3),
      detach(),
      ranges(4),
      remove(3),
    ],
  },
  {
    name: 'dirty pages of a VFIO device',
    steps: [
      ...boundDevice,
      mapPool(1, apertureStart),
      newHwpt(2, 1, 0),
      attach(3),
      ...[0, 1, 2].map((flags) => {
        return step(setDirty, { flags, hwpt: { raw: 3 }, reserved: 0 });
      }),
      step(setDirty, { flags: 1, hwpt: { raw: 2 }, reserved: 0 }),
      step(setDirty, { flags: 1, hwpt: { raw: 3 }, reserved: 1 }),
      read(3),
      read(3, { flags: 1 }),
      read(3, { flags: 2 }),
      read(3, { reserved: 1 }),
      read(3, { pageSize: 0n }),
      read(3, { length: 0n }),
      read(3, { pointer: at.hole }),
      read(2),
      read(1),
    ],
  },
  {
    name: 'a container with a VFIO device',
    steps: [
      ...boundDevice,
      container,
      attach(1),
      ...Array.from({ length: 12 }, (_, extension) => step(checkExtension, { extension })),
      ...[16, 24, 48, 64, 72, 80, 96, 112, 128, 4096].map((argsz) => step(getInfo, { argsz })),
    ],
  },
];
