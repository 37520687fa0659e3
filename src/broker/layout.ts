// The virtual BARs of a lease: which window is where in the device that the lease shows. Pure.
//
// Writable windows of function BAR n stand one behind the other in virtual BAR n; each read-only
// window takes the lowest BAR that is left, and so do the writable ones of a BAR that may combine
// writes; MSI-X table and PBA take the highest that is left. One region has one backing that can be
// mapped, hence one descriptor, with one kind of memory. Where it is the device's descriptor, each
// window stays where it is in the function's BAR.
import { LessorError } from '../base/errors.js';
import type { WindowMemory } from '../base/labels.js';
import { limits } from '../base/limits.js';
import { powerOfTwoAtLeast, roundUp } from '../base/units.js';
import { encodeWindowCapability } from '../device/window-capability.js';
import type { WindowSpec } from '../driver/types.js';
import type { BackingSpec, FunctionInfo, WindowRange } from '../function/types.js';

export const barCount = 6;
/** Smallest BAR shown: a page, so that every one can be mapped. */
const barBytesMin = 4096;
const msixEntryBytes = 16;

export interface PlacedWindow {
  readonly spec: WindowSpec;
  /** Virtual BAR, and the window's first byte in it. */
  readonly region: number;
  readonly offsetBytes: number;
  /** Index into `LeaseLayout.backings`, and the window's first byte there. */
  readonly backing: number;
  readonly backingOffsetBytes: number;
}

export interface VirtualRegion {
  readonly index: number;
  /** A power of two, at least a page. */
  readonly lengthBytes: number;
  readonly windows: readonly PlacedWindow[];
  readonly writable: boolean;
  /** The backing that clients map; absent: by message alone. */
  readonly mappedBacking: number | undefined;
  /** What of the region they map. */
  readonly areas: readonly WindowRange[];
  readonly mappedBytes: number;
}

export interface LeaseLayout {
  /** By BAR number; undefined: not there. */
  readonly regions: readonly (VirtualRegion | undefined)[];
  readonly backings: readonly BackingSpec[];
  readonly windows: readonly PlacedWindow[];
  /** Absent without vectors. */
  readonly msix:
    | { readonly region: number; readonly tableOffset: number; readonly pbaOffset: number }
    | undefined;
  /** Payload of the vendor capability that lists the windows. */
  readonly capability: Uint8Array;
}

/** What a register access of a lease's BAR hits. */
export type RegionAccess =
  | { readonly type: 'window'; readonly window: PlacedWindow; readonly offsetBytes: number }
  | { readonly type: 'msixTable'; readonly offsetBytes: number }
  | { readonly type: 'pba' }
  /** Reads ones, drops writes. */
  | { readonly type: 'hole' }
  /** Not a natural width or alignment, or across the edge of a window: EINVAL. */
  | { readonly type: 'invalid' };

interface Group {
  readonly functionRegion: number;
  readonly access: 'read-write' | 'read';
  readonly memory: WindowMemory;
  readonly specs: readonly WindowSpec[];
}

/** Windows as a function can have them: without what its mappings cannot do. */
export function windowsOf(
  windows: readonly WindowSpec[],
  { windows: traits }: Pick<FunctionInfo, 'windows'>,
): readonly WindowSpec[] {
  if (traits?.combining) return windows;
  return windows.map((spec) => ({ ...spec, memory: 'device' }));
}

/**
 * Windows that share a virtual BAR: all writable ones of a function BAR that are of one memory, or
 * one read-only one. `fixed` are those that have the number of the function BAR.
 */
function groupsOf(windows: readonly WindowSpec[]): { fixed: Group[]; others: Group[] } {
  const groups = new Map<string, Group>();
  for (const spec of windows) {
    const { region, access, memory = 'device' } = spec;
    const key = access === 'read' ? spec.name : `${region} ${memory}`;
    const specs = [...(groups.get(key)?.specs ?? []), spec];
    groups.set(key, { functionRegion: region, access, memory, specs });
  }
  const isFixed = ({ access, memory }: Group): boolean =>
    access === 'read-write' && memory === 'device';
  const all = [...groups.values()];
  return { fixed: all.filter(isFixed), others: all.filter((group) => !isFixed(group)) };
}

/** One behind the other, or each where it is in the function's BAR. */
export type Packing = 'packed' | 'in place';

const rangeOf = ({ offsetBytes, lengthBytes }: WindowRange): WindowRange => ({
  offsetBytes,
  lengthBytes,
});

class Builder {
  readonly backings: BackingSpec[] = [];
  readonly windows: PlacedWindow[] = [];
  readonly regions: (VirtualRegion | undefined)[] = Array.from({ length: barCount });
  readonly #packing: Packing;

  constructor(packing: Packing) {
    this.#packing = packing;
  }

  place(index: number, group: Group): void {
    // What can be mapped comes first: offsets in the region and in the descriptor then agree.
    const mappable = group.specs.filter((spec) => spec.mappable);
    const byMessage = group.specs.filter((spec) => !spec.mappable);
    const placed: PlacedWindow[] = [];
    let endBytes = this.#placeBacking(index, group, mappable, 0, placed);
    const mappedBytes = mappable.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
    const packed = [{ offsetBytes: 0, lengthBytes: mappedBytes }];
    const areas = this.#packing === 'packed' ? packed : mappable.map(rangeOf);
    const mappedBacking = mappable.length > 0 ? this.backings.length - 1 : undefined;
    endBytes = this.#placeBacking(index, group, byMessage, endBytes, placed);
    this.windows.push(...placed);
    this.regions[index] = {
      index,
      lengthBytes: powerOfTwoAtLeast(Math.max(endBytes, barBytesMin)),
      windows: placed,
      writable: group.access === 'read-write',
      mappedBacking,
      areas: mappable.length > 0 ? areas : [],
      mappedBytes,
    };
  }

  #placeBacking(
    region: number,
    group: Group,
    specs: readonly WindowSpec[],
    startBytes: number,
    placed: PlacedWindow[],
  ): number {
    if (specs.length === 0) return startBytes;
    let at = 0;
    let endBytes = startBytes;
    for (const spec of specs) {
      const offsetBytes = this.#packing === 'packed' ? startBytes + at : spec.offsetBytes;
      placed.push({
        spec,
        region,
        offsetBytes,
        backing: this.backings.length,
        backingOffsetBytes: at,
      });
      at += spec.lengthBytes;
      endBytes = Math.max(endBytes, offsetBytes + spec.lengthBytes);
    }
    this.backings.push({
      region: group.functionRegion,
      ranges: specs.map(rangeOf),
      access: group.access,
      ...(group.memory === 'device' ? {} : { memory: group.memory }),
    });
    return endBytes;
  }

  freeBar(order: 'lowest' | 'highest'): number {
    const bars = this.regions.map((_, index) => index);
    if (order === 'highest') bars.reverse();
    const free = bars.find((index) => this.regions[index] === undefined);
    if (free === undefined) {
      throw new LessorError('DRIVER_INVALID', 'the windows and MSI-X take more than six BARs');
    }
    return free;
  }
}

/**
 * Lays the windows of a slice out as the BARs of a lease.
 *
 * @param vectorCount - Vectors that the lease gets; 0: no MSI-X.
 * @param packing - `in place` for whoever has the device itself.
 * @throws LessorError `DRIVER_INVALID`: more than six BARs, or a window list over 128 bytes.
 */
export function layoutOf(
  windows: readonly WindowSpec[],
  vectorCount: number,
  packing: Packing = 'packed',
): LeaseLayout {
  if (windows.length > limits.windowsPerSliceMax) {
    throw new LessorError('DRIVER_INVALID', `a slice has ${windows.length} windows`);
  }
  const builder = new Builder(packing);
  const { fixed, others } = groupsOf(windows);
  for (const group of fixed) builder.place(group.functionRegion, group);
  for (const group of others) builder.place(builder.freeBar('lowest'), group);
  const msix = vectorCount > 0 ? placeMsix(builder, vectorCount) : undefined;
  // In grant order, which is the order in which clients know them.
  const inOrder = windows.map(
    (spec) => builder.windows.find((placed) => placed.spec === spec) as PlacedWindow,
  );
  return {
    regions: builder.regions,
    backings: builder.backings,
    windows: inOrder,
    msix,
    capability: encodeWindowCapability(
      inOrder.map(({ spec, region, offsetBytes }) => ({
        name: spec.name,
        region,
        offsetBytes,
        lengthBytes: spec.lengthBytes,
        access: spec.access,
        memory: spec.memory ?? 'device',
      })),
    ),
  };
}

function placeMsix(builder: Builder, vectorCount: number): NonNullable<LeaseLayout['msix']> {
  const region = builder.freeBar('highest');
  const tableBytes = vectorCount * msixEntryBytes;
  const pbaOffset = roundUp(tableBytes, barBytesMin);
  const pbaBytes = roundUp(Math.ceil(vectorCount / 8), 8);
  builder.regions[region] = {
    index: region,
    lengthBytes: powerOfTwoAtLeast(pbaOffset + pbaBytes),
    windows: [],
    writable: true,
    mappedBacking: undefined,
    areas: [],
    mappedBytes: 0,
  };
  return { region, tableOffset: 0, pbaOffset };
}

/** Bytes of the MSI-X table for so many vectors. */
export function msixTableBytes(vectorCount: number): number {
  return vectorCount * msixEntryBytes;
}

/** What an access of `widthBytes` at `offsetBytes` of a virtual BAR hits. */
export function resolveAccess(
  layout: LeaseLayout,
  vectorCount: number,
  region: number,
  offsetBytes: number,
  widthBytes: number,
): RegionAccess {
  const isNatural = widthBytes === 1 || widthBytes === 2 || widthBytes === 4 || widthBytes === 8;
  if (!isNatural || offsetBytes % widthBytes !== 0) return { type: 'invalid' };
  if (layout.msix?.region === region) return resolveMsix(layout.msix, vectorCount, offsetBytes);
  for (const window of layout.regions[region]?.windows ?? []) {
    const start = window.offsetBytes;
    const end = start + window.spec.lengthBytes;
    if (offsetBytes + widthBytes <= start || offsetBytes >= end) continue;
    if (offsetBytes < start || offsetBytes + widthBytes > end) return { type: 'invalid' };
    return { type: 'window', window, offsetBytes: offsetBytes - start };
  }
  return { type: 'hole' };
}

function resolveMsix(
  msix: NonNullable<LeaseLayout['msix']>,
  vectorCount: number,
  offsetBytes: number,
): RegionAccess {
  // Both start at multiples of a page: a naturally aligned access never crosses into them.
  if (offsetBytes < msixTableBytes(vectorCount)) return { type: 'msixTable', offsetBytes };
  const pbaEnd = msix.pbaOffset + roundUp(Math.ceil(vectorCount / 8), 8);
  return offsetBytes >= msix.pbaOffset && offsetBytes < pbaEnd ? { type: 'pba' } : { type: 'hole' };
}
