// A hand-written sequence, in the words of the random ones.
import type { Command } from '../command.js';
import { hwptAlloc } from '../commands/hwpt.js';
import { allowIovas, destroy, ioasAlloc, unmap } from '../commands/ioas.js';
import { copy, map, mapFile } from '../commands/map.js';
import { mockDomain } from '../commands/mock.js';
import type { Frame } from '../frame.js';
import { at, dataAt } from '../memory.js';
import type { Operation } from '../operation.js';

export interface Edge {
  readonly name: string;
  readonly steps: readonly Operation[];
}

export function step<A>(command: Command<A>, args: A, frame: Frame = { kind: 'right' }): Operation {
  return { command, args, frame } as unknown as Operation;
}

/** Where the mock's addresses begin. */
export const apertureStart = 0x100_0000n;
export const page = 0x1000n;
export const u64Max = 0xffff_ffff_ffff_ffffn;
export const fixedReadWrite = 7;

export const newIoas = step(ioasAlloc, { flags: 0 });

export function remove(id: number): Operation {
  return step(destroy, { object: { raw: id } });
}

/** A mock attached to an object: takes three ids, its own, the device's and an HWPT's. */
export function device(target: number, flags: 0 | 1 | 4 | 5 = 4): Operation {
  return step(mockDomain, { target: { raw: target }, flags });
}

type MapFileArgs = Parameters<typeof mapFile.draft>[0];

export function mapPool(ioas: number, iova: bigint, more: Partial<MapFileArgs> = {}): Operation {
  const args = {
    flags: fixedReadWrite,
    ioas: { raw: ioas },
    file: 0,
    start: 0n,
    length: page,
    iova,
  };
  return step(mapFile, { ...args, ...more });
}

type MapArgs = Parameters<typeof map.draft>[0];

export function mapMemory(ioas: number, iova: bigint, more: Partial<MapArgs> = {}): Operation {
  const args: MapArgs = {
    flags: fixedReadWrite,
    ioas: { raw: ioas },
    reserved: 0,
    address: BigInt(at.pool),
    absolute: undefined,
    length: page,
    iova,
  };
  return step(map, { ...args, ...more });
}

type CopyArgs = Parameters<typeof copy.draft>[0];

export function copyTo(to: number, iova: bigint, more: Partial<CopyArgs> = {}): Operation {
  const args: CopyArgs = {
    flags: fixedReadWrite,
    to: { raw: to },
    from: { raw: 1 },
    range: { iova: apertureStart, length: page },
    iova,
  };
  return step(copy, { ...args, ...more });
}

export function unmapAt(ioas: number, iova: bigint, length: bigint): Operation {
  return step(unmap, { ioas: { raw: ioas }, range: { iova, length } });
}

export function allow(ioas: number, ...ranges: { start: bigint; last: bigint }[]): Operation {
  return step(allowIovas, { ioas: { raw: ioas }, ranges, more: 0, reserved: 0, pointer: dataAt });
}

type HwptArgs = Parameters<typeof hwptAlloc.draft>[0];

export function newHwpt(
  deviceId: number,
  on: number,
  flags: number,
  more: Partial<Omit<HwptArgs, 'target'>> = {},
): Operation {
  const args: HwptArgs = {
    nested: false,
    device: { raw: deviceId },
    target: { raw: on },
    fault: { raw: 0 },
    flags,
    data: { type: 0, length: 0, tail: 0, iotlb: 0, table: 0 },
    reserved: 0,
    pointer: dataAt,
  };
  return step(hwptAlloc, { ...args, ...more });
}
