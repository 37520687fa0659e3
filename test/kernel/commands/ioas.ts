// Address spaces: their life, what they may use, and what is in them.
import fc from 'fast-check';
import { type Command, defineCommand } from '../command.js';
import { at, dataAt } from '../memory.js';
import { at as pickFrom } from '../state.js';
import { StructBytes, u32At, u64At } from '../struct-bytes.js';
import * as draw from '../values.js';

const hex = (value: bigint | number) => `0x${value.toString(16)}`;

export const ioasAlloc = defineCommand({
  name: 'IOMMU_IOAS_ALLOC',
  weight: 3,
  args: fc.record({ flags: draw.flags }),
  draft: ({ flags }) => ({
    request: 0x3b81,
    argument: new StructBytes(12).u32(0, 12).u32(4, flags).bytes,
    text: `flags ${hex(flags)}`,
  }),
  learn: (_args, { bytes }, state) => state.add(u32At(bytes, 8), 'ioas'),
});

export const destroy = defineCommand({
  name: 'IOMMU_DESTROY',
  weight: 3,
  args: fc.record({
    object: draw.weighted([1, draw.choice], [1, fc.nat(9).map((other) => ({ other }))]),
  }),
  draft: ({ object }, state) => {
    const chosen = state.choose(object, 'ioas', 'hwpt', 'parent', 'nested', 'fault', 'mock');
    // The kernel's mock does not survive this: VFIO detaches PASIDs before it unbinds a device.
    const id = state.pasidsOf(chosen).length > 0 ? 0 : chosen;
    return {
      request: 0x3b80,
      argument: new StructBytes(8).u32(0, 8).u32(4, id).bytes,
      text: `id ${id} (${state.kindOf(id) ?? 'none'})`,
    };
  },
  learn: (_args, { bytes }, state) => {
    const id = u32At(bytes, 4);
    state.removeMock(id);
    state.remove(id);
  },
});

export const iovaRanges = defineCommand({
  name: 'IOMMU_IOAS_IOVA_RANGES',
  weight: 3,
  args: fc.record({
    ioas: draw.choice,
    count: draw.weighted(
      [8, draw.among(4, 8, 16)],
      [2, draw.among(0, 1, 2)],
      [1, draw.among(300, draw.u32Max)],
    ),
    reserved: draw.reserved,
    pointer: draw.rarely<number>(
      dataAt,
      0,
      at.hole,
      at.readOnlyScratch,
      dataAt + 3 * 4096 - 24,
      dataAt + 3,
    ),
  }),
  draft: ({ ioas, count, reserved, pointer }, state, { memory }) => {
    const id = state.choose(ioas, 'ioas');
    return {
      request: 0x3b84,
      argument: new StructBytes(32)
        .u32(0, 32)
        .u32(4, id)
        .u32(8, count)
        .u32(12, reserved)
        .u64(16, pointer === 0 ? 0n : BigInt(memory.address(pointer))).bytes,
      text: `ioas ${id}, up to ${count} at ${hex(pointer)}`,
    };
  },
});

const allowedRange = draw.weighted(
  [
    6,
    fc.record({ at: fc.nat(15), pages: fc.nat(7) }).map(({ at: index, pages }) => {
      const start = 0x100_0000n + BigInt(index) * 0x4000n;
      return { start, last: start + BigInt(pages + 1) * 0x1000n - 1n };
    }),
  ],
  [1, fc.record({ start: draw.iova, last: draw.iova })],
);

export const allowIovas = defineCommand({
  name: 'IOMMU_IOAS_ALLOW_IOVAS',
  weight: 3,
  args: fc.record({
    ioas: draw.choice,
    ranges: fc.array(allowedRange, { maxLength: 4 }),
    /** How many more or fewer than there are. */
    more: draw.rarely(0, 1, 600, 100_000),
    reserved: draw.reserved,
    pointer: draw.rarely<number>(dataAt, 0, at.hole, dataAt + 3),
  }),
  draft: ({ ioas, ranges, more, reserved, pointer }, state, { memory }) => {
    const id = state.choose(ioas, 'ioas');
    const list = new StructBytes(16 * ranges.length);
    ranges.forEach(({ start, last }, index) => {
      list.u64(16 * index, start).u64(16 * index + 8, last);
    });
    const shown = ranges.map(({ start, last }) => `[${hex(start)}, ${hex(last)}]`).join(' ');
    return {
      request: 0x3b82,
      argument: new StructBytes(24)
        .u32(0, 24)
        .u32(4, id)
        .u32(8, ranges.length + more)
        .u32(12, reserved)
        .u64(16, pointer === 0 ? 0n : BigInt(memory.address(pointer))).bytes,
      data: [{ offset: pointer === dataAt + 3 ? 3 : 0, bytes: list.bytes }],
      text: `ioas ${id}, ${ranges.length + more} at ${hex(pointer)}: ${shown}`,
    };
  },
});

/** What an unmap or the source of a copy is about. */
export const range = draw.weighted<RangeChoice>(
  [
    12,
    fc.record({
      area: fc.nat(11),
      before: draw.rarely(0, -1, 1, 0x1000),
      after: draw.rarely(0, -1, 1, 0x1000, 0x4000),
    }),
  ],
  [3, fc.record({ iova: draw.iova, length: draw.lengthBytes })],
);

export type RangeChoice =
  | { readonly area: number; readonly before: number; readonly after: number }
  | { readonly iova: bigint; readonly length: bigint };

/** The IOVA and length that a choice means. */
export function rangeOf(
  choice: RangeChoice,
  areas: readonly { readonly iova: bigint; readonly length: bigint }[],
): { readonly iova: bigint; readonly length: bigint } {
  if ('iova' in choice) return choice;
  const area = pickFrom(areas, choice.area);
  if (area === undefined) return { iova: 0x100_0000n, length: 0x1000n };
  const iova = area.iova - BigInt(choice.before);
  return { iova, length: area.length + BigInt(choice.before + choice.after) };
}

export const unmap = defineCommand({
  name: 'IOMMU_IOAS_UNMAP',
  weight: 8,
  args: fc.record({
    ioas: draw.choice,
    range: draw.weighted<RangeChoice>(
      [20, range],
      [1, fc.constant({ iova: 0n, length: draw.u64Max })],
    ),
  }),
  draft: ({ ioas, range: choice }, state) => {
    const id = state.choose(ioas, 'ioas');
    const { iova, length } = rangeOf(choice, state.areas(id));
    return {
      request: 0x3b86,
      argument: new StructBytes(24).u32(0, 24).u32(4, id).u64(8, iova).u64(16, length).bytes,
      text: `ioas ${id}, ${hex(length)} bytes at ${hex(iova)}`,
    };
  },
  learn: ({ range: choice, ioas }, { bytes }, state) => {
    const id = u32At(bytes, 4);
    const { length } = rangeOf(choice, state.areas(state.choose(ioas, 'ioas')));
    state.removeAreas(id, u64At(bytes, 8), length);
  },
});

export const ioasCommands: readonly Command<never>[] = [
  ioasAlloc,
  destroy,
  iovaRanges,
  allowIovas,
  unmap,
] as readonly unknown[] as readonly Command<never>[];
