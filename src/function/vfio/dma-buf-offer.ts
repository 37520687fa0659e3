// What the kernel can do with dma-bufs of a device, as it was found out, and what follows for
// windows. Plain data and pure functions: `lessor doctor` shows it.
import type { WindowTraits } from '../types.js';
import type { VfioDevice } from './types.js';

/** Something that works, or why it does not. */
export type Finding = { readonly works: true } | { readonly works: false; readonly reason: string };

/** The same for what the kernel does under a number of its own choosing. */
export type NumberedFinding =
  | { readonly works: true; readonly feature: number }
  | { readonly works: false; readonly reason: string };

export interface DmaBufOffer {
  /** Ranges of BARs can be exported. */
  readonly export: Finding;
  /** Programs can map what was exported. */
  readonly map: Finding;
  /** What was exported can be taken back for good. */
  readonly revoke: NumberedFinding;
  /** Mappings can be made write-combining. */
  readonly memory: NumberedFinding;
  /**
   * Holders that are not trusted can be given one. Linux up to 7.3 at least keeps a pointer to the
   * file of each dma-buf that it takes for dropped with the last descriptor. A descriptor opened
   * again as O_PATH outlives that file, and the next reset or change of the COMMAND register uses
   * what was freed.
   */
  readonly strangers: Finding;
}

/** The findings of a kernel that was not asked, or has nothing to answer with. */
export function noDmaBufs(reason: string): DmaBufOffer {
  const no = { works: false, reason } as const;
  return { export: no, map: no, revoke: no, memory: no, strangers: no };
}

/** Clients can be given mappings that can be taken away. */
export function offersKernelWindows(offer: DmaBufOffer): boolean {
  return offer.export.works && offer.map.works && offer.revoke.works;
}

/** Regions of which clients can map parts. */
export function mappableRegions(
  { regions }: Pick<VfioDevice, 'regions'>,
  offer: DmaBufOffer,
): ReadonlySet<number> {
  if (!offersKernelWindows(offer)) return new Set();
  const mappable = [...regions.values()].filter((region) => region.mappable.length > 0);
  return new Set(mappable.map(({ index }) => index));
}

/** What a function says of its windows. */
export function windowTraits(offer: DmaBufOffer): WindowTraits {
  const direct = offersKernelWindows(offer);
  return {
    direct,
    harmful: direct && !offer.strangers.works,
    combining: direct && offer.memory.works,
  };
}
