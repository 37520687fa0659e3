// An address space whose work another thread does: checks and charges here, maps there.
import { LessorError } from '../../base/errors.js';
import { hex, type Iova } from '../../base/units.js';
import { checkRange, type Reach } from '../space-share.js';
import type { Access, AddressSpace, DmaAccount, DmaMapping, DmaMemory } from '../types.js';
import type { CallLine } from './call-line.js';

interface Placed {
  readonly mappingId: number;
  readonly account: DmaAccount;
  isLeaving: boolean;
}

export interface RemoteSpaceOptions {
  readonly line: CallLine;
  readonly spaceId: number;
  readonly pasid: number | undefined;
  readonly reach: Reach;
  readonly mapsMax: number;
}

/**
 * The kernel pins what a lease maps: `placedBytes` counts it from when it is asked for until it is
 * gone. The kernel charges its page tables itself.
 */
export class RemoteSpace implements AddressSpace {
  readonly pasid: number | undefined;
  readonly #options: RemoteSpaceOptions;
  readonly #placed = new Map<DmaMapping, Placed>();
  #mapCount = 0;
  #lastMappingId = 0;
  #disposed: Promise<void> | undefined;

  constructor(options: RemoteSpaceOptions) {
    this.pasid = options.pasid;
    this.#options = options;
  }

  async map(
    memory: DmaMemory,
    at: Iova,
    lengthBytes: number,
    access: Access,
    account: DmaAccount,
  ): Promise<DmaMapping> {
    const { line, spaceId, reach, mapsMax } = this.#options;
    if (this.#disposed) throw new LessorError('LEASE_ENDED', 'the address space is gone');
    const { offsetBytes } = memory;
    const iova = checkRange(reach, offsetBytes, at, lengthBytes);
    if (memory.fd === undefined) {
      throw new LessorError('UNSUPPORTED', 'this function maps only memory with a descriptor');
    }
    if (this.#mapCount >= mapsMax) {
      throw new LessorError('QUOTA_EXCEEDED', `more than ${mapsMax} maps`);
    }
    if (account.placedBytes + lengthBytes > account.placedBytesMax) {
      throw new LessorError('QUOTA_EXCEEDED', `${account.placedBytesMax} bytes may be mapped`);
    }
    // The caller may close its descriptor, and the number may name another file, meanwhile.
    using fd = memory.fd.duplicate();
    this.#lastMappingId += 1;
    const mappingId = this.#lastMappingId;
    const mapping: DmaMapping = { iova, lengthBytes, access };
    this.#charge(account, lengthBytes);
    try {
      const range = { offsetBytes, iova, lengthBytes, access };
      await line.call({ type: 'map', spaceId, mappingId, fd: fd.number, ...range });
    } catch (error) {
      this.#charge(account, -lengthBytes);
      throw error;
    }
    this.#placed.set(mapping, { mappingId, account, isLeaving: false });
    return mapping;
  }

  async unmap(mapping: DmaMapping): Promise<void> {
    const placed = this.#placed.get(mapping);
    if (placed === undefined || placed.isLeaving) {
      const detail = `${hex(mapping.iova)} is no mapping of this lease`;
      throw new LessorError('IOVA_NOT_MAPPED', detail);
    }
    const { line, spaceId } = this.#options;
    const { mappingId, account } = placed;
    placed.isLeaving = true;
    // Where this fails, the end of the address space gives it back.
    await line.call({ type: 'unmap', spaceId, mappingId });
    if (this.#placed.delete(mapping)) this.#charge(account, -mapping.lengthBytes);
  }

  /** The kernel pins what is mapped: it stays, whatever its owner does. */
  onMemoryGone(_listener: (mapping: DmaMapping) => void): Disposable {
    return { [Symbol.dispose]: () => undefined };
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#dispose();
    return this.#disposed;
  }

  async #dispose(): Promise<void> {
    const { line, spaceId } = this.#options;
    await line.call({ type: 'close', spaceId });
    for (const [{ lengthBytes }, { account }] of this.#placed) this.#charge(account, -lengthBytes);
    this.#placed.clear();
  }

  #charge(account: DmaAccount, bytes: number): void {
    account.placedBytes += bytes;
    this.#mapCount += bytes > 0 ? 1 : -1;
  }
}
