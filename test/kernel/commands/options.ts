// What is about the context: options, accounting, and the legacy container.
import fc from 'fast-check';
import { type Command, defineCommand } from '../command.js';
import { StructBytes } from '../struct-bytes.js';
import * as draw from '../values.js';
import { range, rangeOf } from './ioas.js';
import { address } from './map.js';

const hex = (value: bigint | number) => `0x${value.toString(16)}`;

export const option = defineCommand({
  name: 'IOMMU_OPTION',
  weight: 3,
  args: fc.record({
    id: draw.weighted([5, fc.constant(1)], [2, fc.constant(0)], [1, draw.among(2, draw.u32Max)]),
    op: draw.weighted([8, draw.among(0, 1)], [1, draw.among(2, 0xffff)]),
    reserved: draw.rarely(0, 1, 0xffff),
    object: draw.choice,
    none: draw.rarely(true, false),
    value: draw.weighted([12, draw.among(0n, 0n, 1n)], [1, draw.among(2n, 1n << 32n, draw.u64Max)]),
  }),
  draft: ({ id, op, reserved, object, none, value }, state) => {
    const about = id === 0 && none ? 0 : state.choose(object, 'ioas');
    return {
      request: 0x3b87,
      argument: new StructBytes(24)
        .u32(0, 24)
        .u32(4, id)
        .u16(8, op)
        .u16(10, reserved)
        .u32(12, about)
        .u64(16, value).bytes,
      text: `${op === 1 ? 'get' : op === 0 ? 'set' : op} option ${id} of ${about}: ${hex(value)}`,
    };
  },
});

export const changeProcess = defineCommand({
  name: 'IOMMU_IOAS_CHANGE_PROCESS',
  weight: 1,
  args: fc.record({ reserved: draw.reserved }),
  draft: ({ reserved }) => ({
    request: 0x3b92,
    argument: new StructBytes(8).u32(0, 8).u32(4, reserved).bytes,
    text: '',
  }),
});

export const vfioIoas = defineCommand({
  name: 'IOMMU_VFIO_IOAS',
  weight: 2,
  args: fc.record({
    ioas: draw.choice,
    op: draw.weighted(
      [6, fc.constant(1)],
      [3, fc.constant(0)],
      [1, fc.constant(2)],
      [1, draw.among(3, 0xffff)],
    ),
    reserved: draw.rarely(0, 1),
  }),
  draft: ({ ioas, op, reserved }, state) => {
    const id = state.choose(ioas, 'ioas');
    return {
      request: 0x3b88,
      argument: new StructBytes(12).u32(0, 12).u32(4, id).u16(8, op).u16(10, reserved).bytes,
      text: `${['get', 'set', 'clear'][op] ?? op} ioas ${id}`,
    };
  },
});

export const apiVersion = defineCommand({
  name: 'VFIO_GET_API_VERSION',
  weight: 0.2,
  args: fc.record({ value: draw.rarely(0, 1) }),
  draft: ({ value }) => ({ request: 0x3b64, argument: value, text: '' }),
});

export const checkExtension = defineCommand({
  name: 'VFIO_CHECK_EXTENSION',
  weight: 0.6,
  args: fc.record({ extension: fc.nat(12) }),
  draft: ({ extension }) => ({ request: 0x3b65, argument: extension, text: `${extension}` }),
});

export const setIommu = defineCommand({
  name: 'VFIO_SET_IOMMU',
  weight: 0.8,
  args: fc.record({ type: draw.weighted([8, draw.among(1, 3)], [1, fc.nat(10)]) }),
  draft: ({ type }) => ({ request: 0x3b66, argument: type, text: `type ${type}` }),
});

export const mapDma = defineCommand({
  name: 'VFIO_IOMMU_MAP_DMA',
  weight: 3,
  args: fc.record({
    argsz: draw.rarely(32, 0, 24, 31, 40, draw.u32Max),
    flags: draw.weighted([10, draw.among(1, 2, 3)], [1, draw.among(0, 4, 7, 0x8000_0000)]),
    address,
    iova: draw.iova,
    length: draw.lengthBytes,
  }),
  draft: ({ argsz, flags, address: offset, iova, length }, _state, { memory }) => ({
    request: 0x3b71,
    argument: new StructBytes(32)
      .u32(0, argsz)
      .u32(4, flags)
      .u64(8, BigInt(memory.base) + offset)
      .u64(16, iova)
      .u64(24, length).bytes,
    text: `argsz ${argsz}, flags ${flags}, ${hex(length)} bytes of base + ${hex(offset)} at ${hex(iova)}`,
  }),
});

export const unmapDma = defineCommand({
  name: 'VFIO_IOMMU_UNMAP_DMA',
  weight: 2,
  args: fc.record({
    argsz: draw.rarely(24, 0, 16, 23, 40, draw.u32Max),
    flags: draw.weighted([10, fc.constant(0)], [2, fc.constant(2)], [1, draw.among(1, 3, 4)]),
    ioas: fc.nat({ max: 3 }).map((pick) => ({ pick })),
    range: draw.weighted([6, range], [1, fc.constant({ iova: 0n, length: 0n })]),
  }),
  draft: ({ argsz, flags, ioas, range: choice }, state) => {
    const { iova, length } = rangeOf(choice, state.areas(state.choose(ioas, 'ioas')));
    const isAll = (flags & 2) !== 0 && !('iova' in choice);
    return {
      request: 0x3b72,
      argument: new StructBytes(24)
        .u32(0, argsz)
        .u32(4, flags)
        .u64(8, isAll ? 0n : iova)
        .u64(16, isAll ? 0n : length).bytes,
      text: `argsz ${argsz}, flags ${flags}, ${isAll ? 'all' : `${hex(length)} bytes at ${hex(iova)}`}`,
    };
  },
});

export const getInfo = defineCommand({
  name: 'VFIO_IOMMU_GET_INFO',
  weight: 1,
  args: fc.record({
    argsz: draw.weighted(
      [4, draw.among(200, 4096)],
      [3, fc.integer({ min: 0, max: 130 })],
      [1, draw.among(16, 24, draw.u32Max)],
    ),
  }),
  draft: ({ argsz }) => ({
    request: 0x3b70,
    argument: new StructBytes(24).u32(0, argsz).bytes,
    text: `argsz ${argsz}`,
  }),
});

export const unknownNumber = defineCommand({
  name: 'unknown number',
  weight: 0.4,
  args: fc.record({ nr: draw.among(0x63, 0x67, 0x73, 0x75, 0x7f, 0x96, 0x9f, 0xa1, 0xff) }),
  draft: ({ nr }) => ({
    request: 0x3b00 | nr,
    argument: new StructBytes(64).u32(0, 64).bytes,
    text: hex(nr),
  }),
});

export const optionCommands: readonly Command<never>[] = [
  option,
  changeProcess,
  vfioIoas,
  apiVersion,
  checkExtension,
  setIommu,
  mapDma,
  unmapDma,
  getInfo,
  unknownNumber,
] as readonly unknown[] as readonly Command<never>[];
