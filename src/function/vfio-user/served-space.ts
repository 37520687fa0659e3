// The one address space of a served function. Leases have shares of it: each maps and unmaps what
// is its own, where nothing of another is. The server is told, and its answer is waited for.
import { isLessorError, isOsError, LessorError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { hex, type Iova, toIova } from '../../base/units.js';
import { checkMap, type MapRules } from '../../iommu/memory-check.js';
import { LowIntervals } from '../../iommu/soft/low-intervals.js';
import type { Access, AddressSpace, DmaMapping, DmaMemory } from '../../iommu/types.js';
import type { MemoryOs } from '../../os/memory-types.js';
import type { ReconnectingClient } from '../../vfio-user/reconnect.js';

/** Unmaps that wait for the server at a time: it may hold back what it did not expect. */
const unmapsAtATime = 32;

export interface ServedSpaceParts {
  readonly client: ReconnectingClient;
  readonly memory: MemoryOs;
  readonly pageBytes: number;
  /** First IOVA that shares may map, and one past the last. */
  readonly aperture: { readonly start: number; readonly end: number };
}

class Mapping implements DmaMapping {
  readonly iova: Iova;
  readonly lengthBytes: number;
  readonly access: Access;
  readonly at: number;
  readonly end: number;

  constructor(iova: Iova, lengthBytes: number, access: Access) {
    this.iova = iova;
    this.lengthBytes = lengthBytes;
    this.access = access;
    this.at = iova;
    this.end = iova + lengthBytes;
  }
}

/** One life of the server: what it was told is void when it died, the next one starts empty. */
class Life {
  isOver = false;
}

export class ServedSpace {
  readonly #parts: ServedSpaceParts;
  #taken = new LowIntervals<Mapping>();
  #life = new Life();

  constructor(parts: ServedSpaceParts) {
    this.#parts = parts;
  }

  /** A share with nothing mapped. @throws LessorError `UNSUPPORTED` for a PASID. */
  open(pasid: number | undefined): AddressSpace {
    if (pasid !== undefined) throw new LessorError('UNSUPPORTED', 'the function has no PASIDs');
    return new Share(this.#parts, this.#taken, this.#life);
  }

  /** The server is away: no mapping of any share is left. */
  lose(): void {
    this.#life.isOver = true;
    this.#life = new Life();
    this.#taken = new LowIntervals();
  }
}

class Share implements AddressSpace {
  readonly pasid = undefined;
  readonly #parts: ServedSpaceParts;
  /** Of all shares, what is still on its way in or out included. */
  readonly #taken: LowIntervals<Mapping>;
  readonly #life: Life;
  readonly #mappings = new Set<Mapping>();
  /** Maps whose answer is not there yet: a dispose waits for them. */
  readonly #coming = new Set<Promise<unknown>>();
  #disposed: Promise<void> | undefined;

  constructor(parts: ServedSpaceParts, taken: LowIntervals<Mapping>, life: Life) {
    this.#parts = parts;
    this.#taken = taken;
    this.#life = life;
  }

  async map(memory: DmaMemory, at: Iova, lengthBytes: number, access: Access): Promise<DmaMapping> {
    const mapping = this.#take(memory, at, lengthBytes, access);
    const coming = this.#tell(memory, mapping).then(
      () => this.#mappings.add(mapping),
      (error: unknown) => {
        this.#taken.take(mapping.at, mapping.end);
        throw mapError(error, mapping.iova);
      },
    );
    const settled = coming.catch(() => undefined);
    this.#coming.add(settled);
    await coming.finally(() => this.#coming.delete(settled));
    return mapping;
  }

  async unmap(mapping: DmaMapping): Promise<void> {
    if (!this.#mappings.delete(mapping as Mapping)) {
      throw new LessorError('IOVA_NOT_MAPPED', `${hex(mapping.iova)} is no mapping of this lease`);
    }
    await this.#remove(mapping as Mapping);
  }

  /** Nobody here sees what a server finds in memory: never called. */
  onMemoryGone(): Disposable {
    return { [Symbol.dispose]() {} };
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#dispose();
    return this.#disposed;
  }

  async #dispose(): Promise<void> {
    await Promise.all(this.#coming);
    const left = [...this.#mappings];
    this.#mappings.clear();
    for (let at = 0; at < left.length; at += unmapsAtATime) {
      const some = left.slice(at, at + unmapsAtATime);
      await Promise.all(some.map((mapping) => this.#remove(mapping)));
    }
  }

  /** Checks a map, and keeps its range from others. */
  #take(memory: DmaMemory, at: Iova, lengthBytes: number, access: Access): Mapping {
    if (this.#disposed) throw new LessorError('LEASE_ENDED', 'the address space is gone');
    if (this.#life.isOver) {
      throw new LessorError('LEASE_STALE', 'the server of the function died since');
    }
    const { client, pageBytes, aperture } = this.#parts;
    const rules: MapRules = {
      window: aperture,
      pageBytes,
      // What leases may map, their broker has judged.
      allowUnsealedMemory: true,
    };
    const { fd, offsetBytes } = memory;
    const request = { fd, offsetBytes, iova: toIova(at), lengthBytes, access };
    const checked = checkMap(this.#parts.memory, request, rules);
    if (this.#mappings.size + this.#coming.size >= limits.mapsPerLeaseMax) {
      throw new LessorError('QUOTA_EXCEEDED', `more than ${limits.mapsPerLeaseMax} maps`);
    }
    const mapsMax = client.client?.peer.maxDmaMaps ?? 0;
    if (client.client !== undefined && this.#taken.size >= mapsMax) {
      throw new LessorError('QUOTA_EXCEEDED', `the server takes ${mapsMax} maps`);
    }
    const mapping = new Mapping(checked.iova, checked.lengthBytes, access);
    if (!this.#taken.isFree(mapping.at, mapping.end)) {
      throw new LessorError('IOVA_OVERLAP', `something is mapped at ${hex(mapping.iova)}`);
    }
    this.#taken.insert(mapping);
    return mapping;
  }

  async #tell({ fd, offsetBytes }: DmaMemory, mapping: Mapping): Promise<void> {
    const { iova, lengthBytes, access } = mapping;
    await this.#parts.client.dmaMap({
      iova: BigInt(iova),
      lengthBytes: BigInt(lengthBytes),
      offsetBytes: BigInt(fd === undefined ? 0 : offsetBytes),
      readable: access !== 'write',
      writable: access !== 'read',
      ...(fd === undefined ? {} : { fd: fd.duplicate() }),
    });
  }

  async #remove(mapping: Mapping): Promise<void> {
    if (this.#life.isOver) return;
    const { client } = this.#parts;
    const range = { iova: BigInt(mapping.iova), lengthBytes: BigInt(mapping.lengthBytes) };
    try {
      await client.dmaUnmap(range);
    } catch (error) {
      // It keeps memory that it was told to let go: nothing it does can be relied on.
      if (!this.#life.isOver && (isOsError(error) || isLessorError(error))) client.giveUp(error);
      if (!this.#life.isOver) throw error;
    }
    if (!this.#life.isOver) this.#taken.take(mapping.at, mapping.end);
  }
}

/** A server's refusal in the words of an address space. */
function mapError(error: unknown, iova: Iova): unknown {
  if (!isOsError(error)) return error;
  const options = { cause: error };
  switch (error.errno) {
    case 'EEXIST':
      return new LessorError('IOVA_OVERLAP', `the server has a map at ${hex(iova)}`, options);
    case 'ENOSPC':
    case 'ENOMEM':
      return new LessorError('QUOTA_EXCEEDED', 'the server takes no more memory', options);
    default:
      return new LessorError('SYSTEM_FAILED', `the server refused a map: ${error.errno}`, options);
  }
}
