// Page tables and what devices see beyond an attach.
import fc from 'fast-check';
import { type Command, defineCommand } from '../command.js';
import { at, dataAt } from '../memory.js';
import { at as pickFrom } from '../state.js';
import { StructBytes, u32At } from '../struct-bytes.js';
import * as draw from '../values.js';

const hex = (value: bigint | number) => `0x${value.toString(16)}`;
const mockData = 0xdead;

interface TypeData {
  readonly type: number;
  readonly length: number;
  readonly tail: number;
  readonly iotlb: number;
  readonly table: number;
}

const nestedData: fc.Arbitrary<TypeData> = fc.record({
  type: draw.rarely<number>(mockData, 0, 1, 0xbeef),
  length: draw.rarely(8, 0, 3, 4, 12, 40),
  tail: draw.rarely(0, 1),
  iotlb: draw.among(0xbad_beef, 7),
  table: draw.rarely(0, 5),
});

const noData: fc.Arbitrary<TypeData> = fc.record({
  type: draw.rarely(0, 1),
  length: draw.rarely(0, 8),
  tail: fc.constant(0),
  iotlb: fc.constant(0),
  table: fc.constant(0),
});

export const hwptAlloc = defineCommand({
  name: 'IOMMU_HWPT_ALLOC',
  weight: 7,
  args: fc
    .record({ nested: fc.nat(2), device: draw.choice, target: draw.choice, fault: draw.choice })
    .chain(({ nested, ...rest }) =>
      fc.record({
        nested: fc.constant(nested === 0),
        device: fc.constant(rest.device),
        target: fc.constant(rest.target),
        fault: fc.constant(rest.fault),
        flags:
          nested === 0
            ? draw.weighted([8, draw.among(0, 4, 8, 12)], [1, draw.among(1, 2, 16)])
            : draw.weighted(
                [14, draw.among(0, 8, 8, 2, 10, 1, 9, 4)],
                [2, fc.nat(15)],
                [1, draw.among(16, 0x8000_0000)],
              ),
        data: nested === 0 ? nestedData : draw.weighted([8, noData], [1, nestedData]),
        reserved: draw.reserved,
        pointer: draw.rarely<number>(dataAt, 0, at.hole),
      }),
    ),
  draft: ({ nested, device, target, fault, flags, data, reserved, pointer }, state, { memory }) => {
    const deviceId = state.choose(device, 'device');
    const id = nested ? state.choose(target, 'parent') : state.choose(target, 'ioas');
    const faultId = state.choose(fault, 'fault');
    const typed = new StructBytes(64).u32(0, data.iotlb).u32(4, data.table).u32(8, data.tail);
    return {
      request: 0x3b89,
      argument: new StructBytes(48)
        .u32(0, 48)
        .u32(4, flags)
        .u32(8, deviceId)
        .u32(12, id)
        .u32(20, reserved)
        .u32(24, data.type)
        .u32(28, data.length)
        .u64(32, pointer === 0 ? 0n : BigInt(memory.address(pointer)))
        .u32(40, faultId).bytes,
      data: [{ offset: 0, bytes: typed.bytes }],
      text: `flags ${hex(flags)}, device ${deviceId}, on ${id} (${state.kindOf(id) ?? 'none'}), data ${hex(data.type)} of ${data.length}, fault ${faultId}`,
    };
  },
  learn: (_args, { bytes }, state) => {
    const target = u32At(bytes, 12);
    const isNested = state.kindOf(target) !== 'ioas';
    const isParent = !isNested && (u32At(bytes, 4) & 1) !== 0;
    state.add(u32At(bytes, 16), isNested ? 'nested' : isParent ? 'parent' : 'hwpt');
    if (!isNested) state.setIoasBehind(u32At(bytes, 16), target);
  },
});

export const hwInfo = defineCommand({
  name: 'IOMMU_GET_HW_INFO',
  weight: 1.5,
  args: fc.record({
    flags: draw.weighted([6, draw.among(0, 1)], [1, fc.constant(2)]),
    device: draw.choice,
    type: draw.rarely(0, 0xfeed_beef, 1, 2),
    length: draw.weighted([4, draw.among(8, 64)], [2, draw.among(0, 4, 7, 4096)]),
    pointer: draw.rarely<number>(dataAt, 0, at.hole, at.readOnlyScratch),
    reserved: draw.reserved,
  }),
  draft: ({ flags, device, type, length, pointer, reserved }, state, { memory }) => {
    const id = state.choose(device, 'device');
    return {
      request: 0x3b8a,
      argument: new StructBytes(40)
        .u32(0, 40)
        .u32(4, flags)
        .u32(8, id)
        .u32(12, length)
        .u64(16, pointer === 0 ? 0n : BigInt(memory.address(pointer)))
        .u32(24, type)
        .u16(30, reserved & 0xffff).bytes,
      text: `flags ${flags}, device ${id}, type ${hex(type)}, ${length} bytes at ${hex(pointer)}`,
    };
  },
});

export const setDirty = defineCommand({
  name: 'IOMMU_HWPT_SET_DIRTY_TRACKING',
  weight: 2,
  args: fc.record({
    flags: draw.weighted([4, fc.constant(1)], [2, fc.constant(0)], [1, draw.among(2, 0x8000_0000)]),
    hwpt: draw.choice,
    reserved: draw.reserved,
  }),
  draft: ({ flags, hwpt, reserved }, state) => {
    const id = state.choose(hwpt, 'hwpt', 'parent');
    return {
      request: 0x3b8b,
      argument: new StructBytes(16).u32(0, 16).u32(4, flags).u32(8, id).u32(12, reserved).bytes,
      text: `hwpt ${id}, flags ${flags}`,
    };
  },
});

export const getDirty = defineCommand({
  name: 'IOMMU_HWPT_GET_DIRTY_BITMAP',
  weight: 3,
  args: fc.record({
    hwpt: draw.choice,
    flags: draw.weighted([6, draw.among(0, 1)], [1, fc.constant(2)]),
    reserved: draw.reserved,
    area: draw.weighted([5, fc.nat(11)], [1, fc.constant(undefined)]),
    iova: draw.iova,
    length: draw.lengthBytes,
    // Below the page of memory the kernel's answer depends on how it happens to lie.
    pageSize: draw.weighted<bigint>(
      [8, fc.constant(0x1000n)],
      [1, draw.among(0n, 0x2000n, 0x3000n, 0x20_0000n, draw.u64Max)],
    ),
    pointer: draw.rarely<number>(dataAt, dataAt + 3, 0, at.hole, at.readOnlyScratch),
  }),
  draft: ({ hwpt, flags, reserved, area, iova, length, pageSize, pointer }, state, { memory }) => {
    const id = state.choose(hwpt, 'hwpt', 'parent');
    const known =
      area === undefined ? undefined : pickFrom(state.areas(state.ioasBehind(id)), area);
    const start = known?.iova ?? iova;
    const bytes = known?.length ?? length;
    return {
      request: 0x3b8c,
      argument: new StructBytes(48)
        .u32(0, 48)
        .u32(4, id)
        .u32(8, flags)
        .u32(12, reserved)
        .u64(16, start)
        .u64(24, bytes)
        .u64(32, pageSize)
        .u64(40, pointer === 0 ? 0n : BigInt(memory.address(pointer))).bytes,
      data: [{ offset: 0, bytes: new Uint8Array(64) }],
      text: `hwpt ${id}, flags ${flags}, ${hex(bytes)} at ${hex(start)} in ${hex(pageSize)} to ${hex(pointer)}`,
    };
  },
});

export const invalidate = defineCommand({
  name: 'IOMMU_HWPT_INVALIDATE',
  weight: 2,
  args: fc.record({
    hwpt: draw.choice,
    type: draw.rarely<number>(0xdead_beef, 0, 0xdad_beef),
    entryLen: draw.rarely(8, 0, 4, 12, 4096, 4097),
    entryNum: draw.weighted(
      [6, fc.integer({ min: 0, max: 4 })],
      [1, draw.among(0x8_0000, 0x8_0001)],
    ),
    entries: fc.array(
      fc.record({
        flags: draw.rarely(0, 1, 2),
        id: draw.weighted([6, fc.nat(3)], [1, fc.constant(4)]),
      }),
      { minLength: 4, maxLength: 4 },
    ),
    pointer: draw.rarely<number>(dataAt, 0, at.hole, at.scratch + 4 * 4096 - 16),
    reserved: draw.reserved,
  }),
  draft: ({ hwpt, type, entryLen, entryNum, entries, pointer, reserved }, state, { memory }) => {
    const id = state.choose(hwpt, 'nested');
    const list = new StructBytes(64);
    entries.forEach(({ flags, id: iotlb }, index) => {
      list.u32(index * 8, flags).u32(index * 8 + 4, iotlb);
    });
    return {
      request: 0x3b8d,
      argument: new StructBytes(32)
        .u32(0, 32)
        .u32(4, id)
        .u64(8, pointer === 0 ? 0n : BigInt(memory.address(pointer)))
        .u32(16, type)
        .u32(20, entryLen)
        .u32(24, entryNum)
        .u32(28, reserved).bytes,
      data: [{ offset: 0, bytes: list.bytes }],
      text: `nested ${id}, type ${hex(type)}, ${entryNum} of ${entryLen} bytes at ${hex(pointer)}: ${entries.map((each) => `${each.flags}/${each.id}`).join(' ')}`,
    };
  },
});

export const hwptCommands: readonly Command<never>[] = [
  hwptAlloc,
  hwInfo,
  setDirty,
  getDirty,
  invalidate,
] as readonly unknown[] as readonly Command<never>[];
