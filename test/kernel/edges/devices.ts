// Edges of devices, page tables and fault queues.
import { faultClose, faultQueueAlloc, faultRead, faultWrite } from '../commands/faults.js';
import { getDirty, hwInfo, invalidate, setDirty } from '../commands/hwpt.js';
import { destroy } from '../commands/ioas.js';
import {
  dirty,
  mockReplace,
  pasidAttach,
  pasidCheck,
  pasidDetach,
  pasidReplace,
  triggerIopf,
} from '../commands/mock.js';
import { at, dataAt } from '../memory.js';
import {
  allow,
  apertureStart,
  device,
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

const nestParent = 1;
const trackDirty = 2;
const withFault = 4;
const withPasid = 8;
const mockData = { type: 0xdead, length: 8, tail: 0, iotlb: 7, table: 0 };

const newQueue = step(faultQueueAlloc, { flags: 0 });

function replace(mock: number, target: number) {
  return step(mockReplace, { mock: { raw: mock }, target: { raw: target } });
}

function pasidCall(call: typeof pasidAttach, mock: number, pasid: number, target: number) {
  return step(call, { mock: { raw: mock }, pasid, target: { raw: target } });
}

function detachPasid(mock: number, pasid: number) {
  return step(pasidDetach, { mock: { raw: mock }, pasid });
}

function track(hwpt: number, flags: number, reserved = 0) {
  return step(setDirty, { flags, hwpt: { raw: hwpt }, reserved });
}

function read(hwpt: number, more: Partial<Parameters<typeof getDirty.draft>[0]> = {}) {
  const range = { area: undefined, iova: apertureStart, length: 4n * page, pageSize: page };
  return step(getDirty, {
    ...{ hwpt: { raw: hwpt }, flags: 0, reserved: 0, pointer: dataAt, ...range },
    ...more,
  });
}

function fault(pasid: number, grpid: number) {
  return step(triggerIopf, { device: { raw: 5 }, pasid, grpid, perm: 1, addr: apertureStart });
}

function answer(length: number, ...answers: readonly (readonly [number, number])[]) {
  const records = [...answers, [0, 0], [0, 0], [0, 0]].slice(0, 3);
  return step(faultWrite, {
    queue: 0,
    length,
    answers: records.map(([cookie, code]) => ({ cookie: cookie!, code: code! })),
  });
}

export const deviceEdges: readonly Edge[] = [
  {
    name: 'destroy while busy',
    steps: [
      newIoas,
      newQueue,
      // Takes 3, 4 and 5; the HWPT is 5.
      device(1),
      remove(1),
      remove(2),
      remove(4),
      remove(5),
      newHwpt(4, 1, nestParent),
      newHwpt(4, 6, 0, { nested: true, data: mockData }),
      remove(6),
      replace(3, 6),
      remove(5),
      remove(6),
      replace(3, 7),
      remove(7),
      newHwpt(4, 1, withFault, { fault: { raw: 2 } }),
      step(faultClose, { queue: 0 }),
      remove(2),
      replace(3, 1),
      remove(3),
      remove(7),
      remove(6),
      step(destroy, { object: { raw: 5 } }),
      remove(2),
      remove(1),
    ],
  },
  {
    name: 'what stands against an attach',
    steps: [
      newIoas,
      mapPool(1, 0n),
      device(1),
      unmapAt(1, 0n, page),
      allow(1, { start: 0n, last: apertureStart }),
      device(1),
      allow(1),
      mapPool(1, apertureStart + 1n),
      device(1),
      unmapAt(1, 0n, u64Max),
      mapMemory(1, apertureStart, { address: BigInt(at.hole) }),
      device(1),
      unmapAt(1, 0n, u64Max),
      mapMemory(1, apertureStart, { address: BigInt(at.readOnlyPool) }),
      device(1),
      unmapAt(1, 0n, u64Max),
      mapPool(1, apertureStart, { file: 1, length: 2n * page }),
      device(1),
      unmapAt(1, 0n, u64Max),
      mapPool(1, apertureStart, { file: 4 }),
      device(1),
      unmapAt(1, 0n, u64Max),
      device(9),
      device(1, 4),
      // With a device the same maps fail at once.
      mapMemory(1, apertureStart, { address: BigInt(at.hole) }),
      mapPool(1, apertureStart, { file: 4 }),
      mapPool(1, apertureStart, { file: 6 }),
      mapPool(1, apertureStart, { file: 1, length: 2n * page }),
      mapPool(1, apertureStart - page),
      mapPool(1, apertureStart + 0x400n),
      mapPool(1, apertureStart, { start: 0x400n }),
      mapPool(1, apertureStart, { length: 0x400n }),
    ],
  },
  {
    name: 'replace',
    steps: [
      newIoas,
      newIoas,
      device(1),
      mapPool(2, 0n),
      replace(3, 2),
      unmapAt(2, 0n, u64Max),
      mapPool(2, apertureStart, { file: 4 }),
      replace(3, 2),
      unmapAt(2, 0n, u64Max),
      replace(3, 2),
      replace(3, 9),
      replace(9, 1),
      replace(3, 3),
      newHwpt(4, 1, trackDirty),
      replace(3, 5),
      device(1, 1),
      replace(6, 5),
    ],
  },
  {
    name: 'PASIDs',
    steps: [
      newIoas,
      device(1),
      newHwpt(3, 1, withPasid),
      newHwpt(3, 1, 0),
      pasidCall(pasidAttach, 2, 1, 5),
      replace(2, 5),
      pasidCall(pasidAttach, 2, 1, 6),
      pasidCall(pasidAttach, 2, 1, 1),
      pasidCall(pasidAttach, 2, 1, 99),
      pasidCall(pasidAttach, 2, 0x10_0000, 5),
      pasidCall(pasidReplace, 2, 1, 5),
      pasidCall(pasidAttach, 2, 1, 5),
      pasidCall(pasidAttach, 2, 1, 5),
      pasidCall(pasidReplace, 2, 1, 99),
      pasidCall(pasidReplace, 2, 1, 6),
      pasidCall(pasidReplace, 2, 1, 5),
      step(pasidCheck, { mock: { raw: 2 }, pasid: 1, hwpt: { raw: 5 }, none: 1 }),
      step(pasidCheck, { mock: { raw: 2 }, pasid: 1, hwpt: { raw: 6 }, none: 1 }),
      replace(2, 6),
      remove(5),
      detachPasid(2, 1),
      detachPasid(2, 1),
      replace(2, 6),
    ],
  },
  {
    name: 'page tables of every kind',
    steps: [
      newIoas,
      device(1),
      newHwpt(9, 1, 0),
      newHwpt(3, 9, 0),
      newHwpt(3, 3, 0),
      newHwpt(3, 1, 16),
      newHwpt(3, 1, nestParent | withFault),
      newHwpt(3, 1, withFault, { fault: { raw: 1 } }),
      newHwpt(3, 1, 0, { reserved: 1 }),
      newHwpt(3, 1, 0, { data: mockData }),
      newHwpt(3, 1, 0, { data: { ...mockData, type: 1 } }),
      newHwpt(3, 1, 0, { data: mockData, pointer: at.hole }),
      newHwpt(3, 4, 0, { nested: true, data: mockData }),
      newHwpt(3, 1, nestParent),
      newHwpt(3, 6, 0, { nested: true, data: mockData }),
      newHwpt(3, 6, 0, { nested: true, data: { ...mockData, type: 1 } }),
      newHwpt(3, 6, 0, { nested: true, data: mockData, pointer: at.hole }),
      newHwpt(3, 6, trackDirty, { nested: true, data: mockData }),
      newHwpt(3, 7, 0, { nested: true, data: mockData }),
      newIoas,
      mapPool(8, 0n),
      newHwpt(3, 8, 0),
      unmapAt(8, 0n, u64Max),
      mapMemory(8, apertureStart, { address: BigInt(at.hole) }),
      newHwpt(3, 8, 0),
    ],
  },
  {
    name: 'dirty pages',
    steps: [
      newIoas,
      device(1),
      newHwpt(3, 1, trackDirty),
      mapPool(1, apertureStart, { length: 4n * page }),
      read(5),
      track(5, 1),
      step(dirty, { hwpt: { raw: 5 }, area: 0, pageSize: 0x1000, bits: 5, pointer: dataAt }),
      read(5, { flags: 1 }),
      read(5, { pageSize: 2n * page }),
      read(5),
      track(5, 0),
      track(5, 0),
      track(5, 2),
      track(5, 0, 1),
      track(1, 1),
      track(4, 1),
      read(4),
      read(1),
      read(5, { flags: 2 }),
      read(5, { reserved: 1 }),
      read(5, { length: 0n }),
      read(5, { iova: u64Max - page, length: 2n * page }),
      read(5, { pageSize: 0n }),
      read(5, { pageSize: 0x3000n }),
      read(5, { iova: apertureStart + 0x400n }),
      read(5, { pointer: at.hole }),
    ],
  },
  {
    name: 'page requests',
    steps: [
      newIoas,
      newQueue,
      step(faultQueueAlloc, { flags: 1 }),
      newIoas,
      // Takes 4, 5 and 6.
      device(1),
      newHwpt(5, 1, withFault, { fault: { raw: 2 } }),
      replace(4, 7),
      step(faultRead, { queue: 0, length: 40 }),
      fault(0, 1),
      fault(0, 2),
      fault(3, 2),
      step(faultRead, { queue: 0, length: 39 }),
      step(faultRead, { queue: 0, length: 400 }),
      answer(7, [0, 0]),
      answer(8, [9, 0]),
      answer(8, [1, 2]),
      answer(16, [1, 0], [9, 0]),
      fault(0, 3),
      step(faultRead, { queue: 0, length: 40 }),
      replace(4, 1),
      answer(8, [1, 1]),
      answer(8, [2, 1]),
    ],
  },
  {
    name: 'invalidation of nested tables',
    steps: [
      newIoas,
      device(1),
      newHwpt(3, 1, nestParent),
      newHwpt(3, 5, 0, { nested: true, data: mockData }),
      ...[
        {},
        { entryNum: 0 },
        { type: 0 },
        { hwpt: { raw: 9 } },
        { hwpt: { raw: 5 } },
        { reserved: 1 },
        { entryLen: 0 },
        { entryLen: 4097 },
        { entryNum: 0x8_0001 },
        { pointer: 0 },
        { pointer: at.hole },
        { entryLen: 12 },
      ].map((more) => {
        return step(invalidate, {
          ...{ hwpt: { raw: 6 }, type: 0xdead_beef, entryLen: 8, entryNum: 3, reserved: 0 },
          entries: [0, 4, 2, 0].map((id) => ({ flags: 0, id })),
          pointer: dataAt,
          ...more,
        });
      }),
    ],
  },
  {
    name: 'what hardware says of itself',
    steps: [
      newIoas,
      device(1),
      ...[
        {},
        { length: 4 },
        { length: 64 },
        { length: 0, pointer: 0 },
        { flags: 1, type: 0xfeed_beef },
        { flags: 1, type: 1 },
        { flags: 2 },
        { reserved: 1 },
        { device: { raw: 1 } },
        { pointer: at.hole },
        { pointer: at.readOnlyScratch },
      ].map((more) => {
        const usual = {
          flags: 0,
          device: { raw: 3 },
          type: 0,
          length: 8,
          pointer: dataAt,
          reserved: 0,
        };
        return step(hwInfo, { ...usual, ...more });
      }),
    ],
  },
];
