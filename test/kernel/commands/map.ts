// Everything that puts memory into an address space.
import fc from 'fast-check';
import { type Command, defineCommand } from '../command.js';
import { at } from '../memory.js';
import { at as pickFrom } from '../state.js';
import { StructBytes, u32At, u64At } from '../struct-bytes.js';
import * as draw from '../values.js';
import { range, rangeOf } from './ioas.js';

const hex = (value: bigint | number) => `0x${value.toString(16)}`;

export const mapFile = defineCommand({
  name: 'IOMMU_IOAS_MAP_FILE',
  weight: 14,
  args: fc.record({
    flags: draw.mapFlags,
    ioas: draw.choice,
    file: draw.weighted([20, fc.constant(0)], [4, fc.nat(20)]),
    start: draw.offset,
    length: draw.lengthBytes,
    iova: draw.iova,
  }),
  draft: ({ flags, ioas, file, start, length, iova }, state, { files }) => {
    const id = state.choose(ioas, 'ioas');
    const { name, number } = pickFrom(files, file)!;
    return {
      request: 0x3b8f,
      argument: new StructBytes(40)
        .u32(0, 40)
        .u32(4, flags)
        .u32(8, id)
        .u32(12, number)
        .u64(16, start)
        .u64(24, length)
        .u64(32, iova).bytes,
      text: `flags ${hex(flags)}, ioas ${id}, ${hex(length)} bytes of ${name} from ${hex(start)} at ${hex(iova)}`,
    };
  },
  learn: ({ length, file, start }, { bytes }, state, { files, memory }) => {
    const isPool = pickFrom(files, file)?.number === memory.pool.number;
    const source = isPool ? { source: BigInt(memory.base + at.pool) + start } : {};
    state.addArea(u32At(bytes, 8), { iova: u64At(bytes, 32), length, ...source });
  },
});

/** Inside of what is reserved, or where no process has memory. */
const reach = draw.offset.filter((offset) => offset <= 1n << 31n || offset >= 1n << 47n);

/** Where memory of the process is taken from. */
export const address = draw.weighted<bigint>(
  [30, reach.map((offset) => BigInt(at.pool) + offset)],
  [3, reach.map((offset) => BigInt(at.readOnlyPool) + offset)],
  [2, draw.among(BigInt(at.hole), BigInt(at.pool) - 0x1000n, BigInt(at.pool) + 0x3f_f000n)],
);

export const map = defineCommand({
  name: 'IOMMU_IOAS_MAP',
  weight: 10,
  args: fc.record({
    flags: draw.mapFlags,
    ioas: draw.choice,
    reserved: draw.reserved,
    address,
    absolute: draw.rarely<bigint | undefined>(
      undefined,
      0n,
      1n,
      1n << 47n,
      draw.u64Max,
      draw.u64Max - 0xfffn,
    ),
    length: draw.lengthBytes,
    iova: draw.iova,
  }),
  draft: (
    { flags, ioas, reserved, address: offset, absolute, length, iova },
    state,
    { memory },
  ) => {
    const id = state.choose(ioas, 'ioas');
    return {
      request: 0x3b85,
      argument: new StructBytes(40)
        .u32(0, 40)
        .u32(4, flags)
        .u32(8, id)
        .u32(12, reserved)
        .u64(16, absolute ?? BigInt(memory.base) + offset)
        .u64(24, length)
        .u64(32, iova).bytes,
      text: `flags ${hex(flags)}, ioas ${id}, ${hex(length)} bytes of ${absolute === undefined ? `base + ${hex(offset)}` : hex(absolute)} at ${hex(iova)}`,
    };
  },
  learn: ({ length }, { bytes }, state) => {
    const area = { iova: u64At(bytes, 32), length, source: u64At(bytes, 16) };
    state.addArea(u32At(bytes, 8), area);
  },
});

export const copy = defineCommand({
  name: 'IOMMU_IOAS_COPY',
  weight: 8,
  args: fc.record({
    flags: draw.mapFlags,
    to: draw.choice,
    from: draw.choice,
    range,
    iova: draw.iova,
  }),
  draft: ({ flags, to, from, range: choice, iova }, state) => {
    const target = state.choose(to, 'ioas');
    const source = state.choose(from, 'ioas');
    const taken = rangeOf(choice, state.areas(source));
    return {
      request: 0x3b83,
      argument: new StructBytes(40)
        .u32(0, 40)
        .u32(4, flags)
        .u32(8, target)
        .u32(12, source)
        .u64(16, taken.length)
        .u64(24, iova)
        .u64(32, taken.iova).bytes,
      text: `flags ${hex(flags)}, ${hex(taken.length)} bytes of ioas ${source} at ${hex(taken.iova)} to ioas ${target} at ${hex(iova)}`,
    };
  },
  learn: (_args, { bytes }, state) => {
    // One area for each that the source range touches; close enough to choose from.
    state.addArea(u32At(bytes, 8), { iova: u64At(bytes, 24), length: u64At(bytes, 16) });
  },
});

export const mapCommands: readonly Command<never>[] = [
  mapFile,
  map,
  copy,
] as readonly unknown[] as readonly Command<never>[];
