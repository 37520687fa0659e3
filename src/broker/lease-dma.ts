// The maps of one lease: checks, charges, and the order of map and unmap.
import { LessorError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { Serial } from '../base/serial.js';
import { hex, iovaEnd } from '../base/units.js';
import { checkMap, type MapRules } from '../iommu/memory-check.js';
import type { Access, AddressSpace, DmaAccount, DmaMapping } from '../iommu/types.js';
import type { Fd } from '../os/fd.js';
import type { MemoryOs } from '../os/memory-types.js';

export interface MapRequest {
  readonly iova: bigint;
  readonly lengthBytes: bigint;
  readonly offsetBytes: bigint;
  readonly access: Access;
  /** Owned by the callee in every outcome. */
  readonly fd: Fd | undefined;
}

export interface LeaseDmaOptions {
  readonly memory: MemoryOs;
  readonly space: AddressSpace;
  readonly window: { readonly base: number; readonly lengthBytes: number };
  readonly pageBytes: number;
  readonly allowUnsealedMemory: boolean;
  readonly windowOf: NonNullable<MapRules['windowOf']>;
  readonly windowOfFile: NonNullable<MapRules['windowOfFile']>;
  /** Bytes of client memory that may be placed at a time. */
  readonly placedBytesMax: number;
  /** The memory behind a mapping vanished: the lease must end. */
  readonly onMemoryGone: (mapping: DmaMapping) => void;
}

export class LeaseDma {
  readonly #options: LeaseDmaOptions;
  readonly #maps = new Map<number, DmaMapping>();
  readonly #watch: Disposable;
  readonly account: DmaAccount;
  #mappedBytes = 0;
  // Map and unmap of one lease happen in arrival order, each after the one before has settled.
  readonly #order = new Serial();

  constructor(options: LeaseDmaOptions) {
    this.#options = options;
    this.account = {
      placedBytesMax: options.placedBytesMax,
      tablePagesMax: limits.tablePagesPerLeaseMax,
      placedBytes: 0,
      tablePages: 0,
    };
    this.#watch = options.space.onMemoryGone((mapping) => {
      if (this.#maps.get(mapping.iova) === mapping) options.onMemoryGone(mapping);
    });
  }

  get mappedBytes(): number {
    return this.#mappedBytes;
  }

  /** What the map that holds this address allows; undefined when there is none. */
  accessAt(iova: number): Access | undefined {
    for (const mapping of this.#maps.values()) {
      if (mapping.iova <= iova && iova < mapping.iova + mapping.lengthBytes) return mapping.access;
    }
    return undefined;
  }

  /**
   * Makes client memory reachable by the device.
   *
   * @throws LessorError `MEMORY_*`, `IOVA_*`, `QUOTA_EXCEEDED`, `ARENA_FULL`
   */
  map(request: MapRequest): Promise<void> {
    return this.#order.run(() => this.#map(request)).finally(() => request.fd?.close());
  }

  /**
   * Removes every map wholly inside the range; none is a success, for QEMU sends huge ranges.
   *
   * @throws LessorError `IOVA_NOT_MAPPED` when the range cuts a map; nothing is removed then.
   */
  unmap(iova: bigint, lengthBytes: bigint): Promise<void> {
    return this.#order.run(() => this.#unmapRange(iova, lengthBytes));
  }

  unmapAll(): Promise<void> {
    return this.#order.run(() => this.#remove([...this.#maps.values()]));
  }

  /** Unmaps everything and gives the address space back. */
  async close(): Promise<void> {
    await this.unmapAll();
    this.#watch[Symbol.dispose]();
    await this.#options.space[Symbol.asyncDispose]();
  }

  async #map(request: MapRequest): Promise<void> {
    const { memory, space, window, pageBytes, allowUnsealedMemory } = this.#options;
    const { windowOf, windowOfFile } = this.#options;
    if (this.#maps.size >= limits.mapsPerLeaseMax) {
      throw new LessorError('QUOTA_EXCEEDED', `${limits.mapsPerLeaseMax} maps is the limit`);
    }
    const { iova, lengthBytes, access, ...source } = checkMap(memory, request, {
      window: { start: window.base, end: window.base + window.lengthBytes },
      pageBytes,
      allowUnsealedMemory,
      windowOf,
      windowOfFile,
    });
    const mapping = await space.map(source, iova, lengthBytes, access, this.account);
    this.#maps.set(iova, mapping);
    this.#mappedBytes += lengthBytes;
  }

  async #unmapRange(iova: bigint, lengthBytes: bigint): Promise<void> {
    const exactMatch = iova < BigInt(iovaEnd) ? this.#maps.get(Number(iova)) : undefined;
    if (exactMatch !== undefined && BigInt(exactMatch.lengthBytes) === lengthBytes) {
      return this.#remove([exactMatch]);
    }
    const end = iova + lengthBytes;
    const inside: DmaMapping[] = [];
    for (const mapping of this.#maps.values()) {
      const mapStart = BigInt(mapping.iova);
      const mapEnd = mapStart + BigInt(mapping.lengthBytes);
      if (mapStart >= end || mapEnd <= iova) continue;
      if (mapStart < iova || mapEnd > end) {
        const where = `${hex(mapping.iova)}+${hex(mapping.lengthBytes)}`;
        throw new LessorError('IOVA_NOT_MAPPED', `the range cuts the map at ${where}`);
      }
      inside.push(mapping);
    }
    return this.#remove(inside);
  }

  async #remove(mappings: readonly DmaMapping[]): Promise<void> {
    for (const mapping of mappings) {
      this.#maps.delete(mapping.iova);
      this.#mappedBytes -= mapping.lengthBytes;
    }
    await Promise.all(mappings.map((mapping) => this.#options.space.unmap(mapping)));
  }
}
