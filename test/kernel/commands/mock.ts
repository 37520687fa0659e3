// IOMMU_TEST_CMD: devices that are not there, what they do, and looks behind the tables.
import fc from 'fast-check';
import { type Command, defineCommand } from '../command.js';
import { at, dataAt } from '../memory.js';
import { at as pickFrom, type State } from '../state.js';
import { StructBytes, u32At } from '../struct-bytes.js';
import * as draw from '../values.js';

const testCommand = 0x3ba0;
const structBytes = 72;

/** @see linux drivers/iommu/iommufd/iommufd_test.h */
export const op = {
  addReserved: 1,
  mockDomain: 2,
  checkMap: 3,
  createAccess: 5,
  destroyAccessPages: 6,
  accessPages: 7,
  accessRw: 8,
  mockDomainReplace: 10,
  accessReplaceIoas: 11,
  mockDomainFlags: 12,
  dirty: 13,
  checkIotlb: 14,
  triggerIopf: 15,
  pasidAttach: 18,
  pasidReplace: 19,
  pasidDetach: 20,
  pasidCheckHwpt: 21,
} as const;

/** Not 1024, for which the mock fakes a failure, and not 0, which is a listed deviation. */
const pasid = draw.weighted(
  [12, draw.among(1, 2, 3)],
  [1, draw.among(0xf_ffff, 0x10_0000, draw.u32Max)],
);

const hex = (value: bigint | number) => `0x${value.toString(16)}`;

function testStruct(operation: number, id: number): StructBytes {
  return new StructBytes(structBytes).u32(0, structBytes).u32(4, operation).u32(8, id);
}

export const mockDomain = defineCommand({
  name: 'mock device',
  weight: 3,
  args: fc.record({
    target: draw.choice,
    flags: draw.weighted(
      [3, fc.constant(undefined)],
      [6, draw.among(0, 1, 4, 5)],
      [1, draw.among(2, 8)],
    ),
  }),
  draft: ({ target, flags }, state) => {
    const id = state.choose(target, 'ioas', 'ioas', 'hwpt', 'parent');
    const struct = testStruct(flags === undefined ? op.mockDomain : op.mockDomainFlags, id);
    return {
      request: testCommand,
      argument: struct.u32(28, flags ?? 0).bytes,
      text: `flags ${flags ?? 'none'}, attached to ${id} (${state.kindOf(id) ?? 'none'})`,
    };
  },
  learn: (_args, { bytes }, state) => {
    const mock = u32At(bytes, 16);
    const hwpt = u32At(bytes, 20);
    const device = u32At(bytes, 24);
    state.add(mock, 'mock');
    state.add(device, 'device');
    state.addMock(mock, device);
    state.attach(mock, u32At(bytes, 8), hwpt);
  },
});

export const mockReplace = defineCommand({
  name: 'mock replace',
  weight: 4,
  args: fc.record({ mock: draw.choice, target: draw.choice }),
  draft: ({ mock, target }, state) => {
    const id = state.choose(mock, 'mock');
    const to = state.choose(target, 'ioas', 'hwpt', 'parent', 'nested');
    return {
      request: testCommand,
      argument: testStruct(op.mockDomainReplace, id).u32(16, to).bytes,
      text: `mock ${id} to ${to} (${state.kindOf(to) ?? 'none'})`,
    };
  },
  learn: ({ mock, target }, { bytes }, state) => {
    const to = state.choose(target, 'ioas', 'hwpt', 'parent', 'nested');
    state.attach(state.choose(mock, 'mock'), to, u32At(bytes, 16));
  },
});

function pasidCommand(name: string, weight: number, operation: number) {
  return defineCommand({
    name,
    weight,
    args: fc.record({ mock: draw.choice, pasid, target: draw.choice }),
    draft: ({ mock, pasid: number, target }, state) => {
      const id = state.choose(mock, 'mock');
      const to = state.choose(target, 'hwpt', 'parent', 'hwpt', 'nested', 'ioas');
      return {
        request: testCommand,
        argument: testStruct(operation, id).u32(16, number).u32(20, to).bytes,
        text: `mock ${id}, pasid ${number} to ${to} (${state.kindOf(to) ?? 'none'})`,
      };
    },
    learn: ({ pasid: number }, { bytes }, state) => state.addPasid(u32At(bytes, 8), number),
  });
}

export const pasidAttach = pasidCommand('pasid attach', 4, op.pasidAttach);
export const pasidReplace = pasidCommand('pasid replace', 2, op.pasidReplace);

/** Of one PASID of one mock: also before anything ends a mock, for the kernel's mock does not. */
export function pasidDetachDraft(mock: number, number: number) {
  return {
    request: testCommand,
    argument: testStruct(op.pasidDetach, mock).u32(16, number).bytes,
    text: `mock ${mock}, pasid ${number}`,
  };
}

export const pasidDetach = defineCommand({
  name: 'pasid detach',
  weight: 2,
  args: fc.record({ mock: draw.choice, pasid }),
  draft: ({ mock, pasid: number }, state) => pasidDetachDraft(state.choose(mock, 'mock'), number),
  learn: ({ pasid: number }, { bytes }, state) => state.removePasid(u32At(bytes, 8), number),
});

export const pasidCheck = defineCommand({
  name: 'pasid check',
  weight: 1,
  args: fc.record({ mock: draw.choice, pasid, hwpt: draw.choice, none: fc.nat(3) }),
  draft: ({ mock, pasid: number, hwpt, none }, state) => {
    const id = state.choose(mock, 'mock');
    const about = none === 0 ? 0 : state.choose(hwpt, 'hwpt', 'parent', 'nested');
    return {
      request: testCommand,
      argument: testStruct(op.pasidCheckHwpt, id).u32(16, number).u32(20, about).bytes,
      text: `mock ${id}, pasid ${number} at ${about}`,
    };
  },
});

export const addReserved = defineCommand({
  name: 'add reserved',
  weight: 1,
  args: fc.record({ ioas: draw.choice, start: draw.iova, length: draw.lengthBytes }),
  draft: ({ ioas, start, length }, state) => {
    const id = state.choose(ioas, 'ioas');
    return {
      request: testCommand,
      argument: testStruct(op.addReserved, id).u64(16, start).u64(24, length).bytes,
      text: `ioas ${id}, ${hex(length)} bytes at ${hex(start)}`,
    };
  },
});

/** An area of the IOAS behind an HWPT, if there is one. */
function areaBehind(state: State, hwpt: number, index: number) {
  return pickFrom(state.areas(state.ioasBehind(hwpt)), index);
}

export const checkMap = defineCommand({
  name: 'check map',
  weight: 3,
  args: fc.record({
    hwpt: draw.choice,
    area: fc.nat(11),
    skip: draw.weighted(
      [4, fc.constant(0)],
      [2, draw.among(0x800, 0x1000, 0x1800)],
      [1, draw.among(1, -0x800)],
    ),
    length: draw.weighted(
      [6, fc.constant(0x800)],
      [2, draw.among(0x1000, 0x2000)],
      [1, draw.among(0, 1)],
    ),
    wrong: draw.rarely(0, 0x800, 1, -0x20_0000),
  }),
  draft: ({ hwpt, area: index, skip, length, wrong }, state, { memory }) => {
    const id = state.choose(hwpt, 'hwpt', 'parent');
    const area = areaBehind(state, id, index);
    const iova = (area?.iova ?? 0x100_0000n) + BigInt(skip);
    const address = (area?.source ?? BigInt(memory.base + at.pool)) + BigInt(skip + wrong);
    return {
      request: testCommand,
      argument: testStruct(op.checkMap, id).u64(16, iova).u64(24, BigInt(length)).u64(32, address)
        .bytes,
      text: `hwpt ${id}, ${hex(length)} bytes at ${hex(iova)} are base + ${hex(address - BigInt(memory.base))}`,
    };
  },
});

export const dirty = defineCommand({
  name: 'mock dirty',
  weight: 2,
  args: fc.record({
    hwpt: draw.choice,
    area: fc.nat(11),
    pageSize: draw.weighted([6, draw.among(0x800, 0x1000)], [1, draw.among(0, 0x400)]),
    bits: fc.nat(255),
    pointer: draw.rarely<number>(dataAt, 0, at.hole),
  }),
  draft: ({ hwpt, area: index, pageSize, bits, pointer }, state, { memory }) => {
    const id = state.choose(hwpt, 'hwpt', 'parent');
    const area = areaBehind(state, id, index);
    const iova = area?.iova ?? 0x100_0000n;
    // Writes stay in the area: where nothing is mapped the mock may do what it likes.
    const length = area === undefined ? 0x1000n : minimum(area.length, 0x4000n);
    return {
      request: testCommand,
      argument: testStruct(op.dirty, id)
        .u64(24, iova)
        .u64(32, length)
        .u64(40, BigInt(pageSize))
        .u64(48, pointer === 0 ? 0n : BigInt(memory.address(pointer))).bytes,
      data: [{ offset: 0, bytes: Uint8Array.of(area === undefined ? 0 : bits) }],
      text: `hwpt ${id}, bits ${bits.toString(2)} of ${hex(pageSize)} bytes in ${hex(length)} at ${hex(iova)}`,
    };
  },
});

function minimum(one: bigint, other: bigint): bigint {
  return one < other ? one : other;
}

export const checkIotlb = defineCommand({
  name: 'check iotlb',
  weight: 1,
  args: fc.record({
    hwpt: draw.choice,
    entry: fc.nat(4),
    value: draw.among(0, 0xbad_beef, 7),
  }),
  draft: ({ hwpt, entry, value }, state) => {
    const id = state.choose(hwpt, 'nested');
    return {
      request: testCommand,
      argument: testStruct(op.checkIotlb, id).u32(16, entry).u32(20, value).bytes,
      text: `nested ${id}, entry ${entry} is ${hex(value)}`,
    };
  },
});

export const triggerIopf = defineCommand({
  name: 'trigger iopf',
  weight: 3,
  args: fc.record({
    device: draw.choice,
    pasid: draw.weighted([3, fc.constant(0)], [4, pasid], [1, fc.constant(draw.u32Max)]),
    grpid: fc.nat(3),
    perm: draw.among(1, 2, 3, 0, 15),
    addr: draw.iova,
  }),
  draft: ({ device, pasid: number, grpid, perm, addr }, state) => {
    const id = state.choose(device, 'device');
    return {
      request: testCommand,
      argument: testStruct(op.triggerIopf, 0)
        .u32(16, id)
        .u32(20, number)
        .u32(24, grpid)
        .u32(28, perm)
        .u64(32, addr).bytes,
      text: `device ${id}, pasid ${number}, group ${grpid}, perm ${perm} at ${hex(addr)}`,
    };
  },
});

export const mockCommands: readonly Command<never>[] = [
  mockDomain,
  mockReplace,
  pasidAttach,
  pasidReplace,
  pasidDetach,
  pasidCheck,
  addReserved,
  checkMap,
  dirty,
  checkIotlb,
  triggerIopf,
] as readonly unknown[] as readonly Command<never>[];
