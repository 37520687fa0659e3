// Client memory in the arena: placed in the 2 MiB extents of an object that mappings touch, shared
// by all mappings of the same object, extent and protection, charged to every lease that uses it.
import { assert, isOsError, LessorError } from '../../base/errors.js';
import { MiB, roundDown, roundUp } from '../../base/units.js';
import type { Fd } from '../../os/fd.js';
import type { Arena, GuardSlot, MemoryIdentity, MemoryOs } from '../../os/memory-types.js';
import type { DmaAccount } from '../types.js';
import { ArenaPages } from './arena-pages.js';
import { type ObjectExtents, ObjectIndex } from './object-index.js';

export const extentBytes = 2 * MiB;

/**
 * What an extent costs at least: each takes a slot of the SIGBUS guard, and many tiny memory
 * objects must not use those up while they stay under a limit in bytes.
 */
export const extentChargeBytesMin = MiB / 2;

/** What the extents need to know about a received descriptor. */
export type MemoryFacts = Pick<MemoryOs, 'seals' | 'identity'>;

/** A placed part of a memory object. */
export interface Extent {
  /** Byte offset in the arena. */
  readonly offsetBytes: number;
  /** Byte offset in the object; a multiple of 2 MiB. */
  readonly startBytes: number;
  /** At most 2 MiB; less where the object ended when it was placed. */
  readonly lengthBytes: number;
}

interface PlacedExtent extends Extent {
  readonly index: ObjectExtents<PlacedExtent>;
  readonly key: number;
  readonly slot: GuardSlot;
  readonly faultsBefore: number;
  readonly chargeBytes: number;
  readonly users: Set<object>;
  /** How many users each account pays for it. */
  readonly accounts: Map<DmaAccount, number>;
  isReported: boolean;
}

export interface ExtentsOptions {
  readonly arena: Arena;
  readonly memory: MemoryFacts;
  /** First byte of the arena that is for client memory; a multiple of 2 MiB. */
  readonly startBytes: number;
  /** Limit on the charges of all extents together. */
  readonly placedBytesMax: number;
}

export class Extents {
  readonly #arena: Arena;
  readonly #memory: MemoryFacts;
  readonly #pages: ArenaPages;
  readonly #placedBytesMax: number;
  readonly #objects = new ObjectIndex<PlacedExtent>();
  readonly #placed = new Set<PlacedExtent>();
  /** Ranges that could not be cleared yet; tried again before the next placement. */
  readonly #uncleared: PlacedExtent[] = [];
  #placedBytes = 0;
  #faultsSeen: number;

  constructor(options: ExtentsOptions) {
    this.#arena = options.arena;
    this.#memory = options.memory;
    this.#placedBytesMax = options.placedBytesMax;
    this.#pages = new ArenaPages(options.startBytes, options.arena.lengthBytes);
    this.#faultsSeen = options.arena.faults[0] ?? 0;
  }

  /** Charged bytes of all extents. */
  get placedBytes(): number {
    return this.#placedBytes;
  }

  get count(): number {
    return this.#placed.size;
  }

  /**
   * Places what covers a range of a memory object, or shares what is there. All or nothing. Takes
   * no ownership of `fd`.
   *
   * @param user - Named by `takeGone` when the memory vanishes; passed to `release`.
   * @returns The extents in ascending order.
   * @throws LessorError `MEMORY_NOT_SHMEM`, `MEMORY_TOO_SMALL`, `MEMORY_READ_ONLY`,
   *   `MEMORY_WRITE_SEALED`, `QUOTA_EXCEEDED`, `ARENA_FULL`
   */
  acquire(
    fd: Fd,
    startBytes: number,
    lengthBytes: number,
    isWritable: boolean,
    account: DmaAccount | undefined,
    user: object,
  ): readonly Extent[] {
    const identity = this.#identify(fd);
    const end = startBytes + lengthBytes;
    if (end > identity.lengthBytes) {
      const detail = `the range ends at byte ${end} of ${identity.lengthBytes}`;
      throw new LessorError('MEMORY_TOO_SMALL', detail);
    }
    const index = this.#objects.open(identity);
    const taken: PlacedExtent[] = [];
    try {
      for (let at = roundDown(startBytes, extentBytes); at < end; at += extentBytes) {
        const needed = Math.min(end - at, extentBytes);
        const key = (at / extentBytes) * 2 + (isWritable ? 1 : 0);
        let extent = index.byKey.get(key);
        // One that lost its memory, or was placed before the object grew, serves only its users.
        const isUsable =
          extent !== undefined && extent.lengthBytes >= needed && !this.#isGone(extent);
        if (!isUsable) extent = this.#place(fd, identity, index, key, at, isWritable, account);
        this.#join(extent!, account, user);
        taken.push(extent!);
      }
    } catch (error) {
      this.release(taken, account, user);
      this.#objects.close(index);
      throw error;
    }
    return taken;
  }

  /** Gives up a user's extents. Only after the device acknowledged that nothing leads there. */
  release(extents: readonly Extent[], account: DmaAccount | undefined, user: object): void {
    for (const each of extents) {
      const extent = each as PlacedExtent;
      assert(extent.users.delete(user), 'release by who is no user');
      if (account !== undefined) this.#unpay(extent, account);
      if (extent.users.size === 0) this.#unplace(extent);
    }
  }

  /**
   * Users of extents whose memory was truncated since the last call. Each extent is reported once.
   * Cheap when the guard of this process saw no fault.
   */
  takeGone(): ReadonlySet<object> {
    const gone = new Set<object>();
    const faults = this.#arena.faults[0] ?? 0;
    if (faults === this.#faultsSeen) return gone;
    this.#faultsSeen = faults;
    for (const extent of this.#placed) {
      if (extent.isReported || !this.#isGone(extent)) continue;
      extent.isReported = true;
      for (const user of extent.users) gone.add(user);
    }
    return gone;
  }

  #identify(fd: Fd): MemoryIdentity {
    try {
      this.#memory.seals(fd);
    } catch (error) {
      if (!isOsError(error)) throw error;
      throw new LessorError('MEMORY_NOT_SHMEM', 'the descriptor is no memfd', { cause: error });
    }
    return this.#memory.identity(fd);
  }

  #isGone(extent: PlacedExtent): boolean {
    return this.#arena.faults[extent.slot] !== extent.faultsBefore;
  }

  #join(extent: PlacedExtent, account: DmaAccount | undefined, user: object): void {
    if (account !== undefined) {
      const count = extent.accounts.get(account) ?? 0;
      if (count === 0) {
        checkQuota(account, extent.chargeBytes);
        account.placedBytes += extent.chargeBytes;
      }
      extent.accounts.set(account, count + 1);
    }
    extent.users.add(user);
  }

  #unpay(extent: PlacedExtent, account: DmaAccount): void {
    const count = extent.accounts.get(account) ?? 0;
    assert(count > 0, 'release by an account that does not pay');
    if (count > 1) {
      extent.accounts.set(account, count - 1);
      return;
    }
    extent.accounts.delete(account);
    account.placedBytes -= extent.chargeBytes;
  }

  #place(
    fd: Fd,
    identity: MemoryIdentity,
    index: ObjectExtents<PlacedExtent>,
    key: number,
    startBytes: number,
    isWritable: boolean,
    account: DmaAccount | undefined,
  ): PlacedExtent {
    this.#clearAgain();
    const objectBytes = roundUp(identity.lengthBytes, 4096);
    const lengthBytes = Math.min(extentBytes, objectBytes - startBytes);
    const chargeBytes = Math.max(lengthBytes, extentChargeBytesMin);
    if (account !== undefined) checkQuota(account, chargeBytes);
    const isFull = lengthBytes === extentBytes;
    const where = isFull ? { alignBytes: extentBytes } : { fromEnd: true };
    const offsetBytes =
      this.#placedBytes + chargeBytes > this.#placedBytesMax
        ? undefined
        : this.#pages.allocate(lengthBytes, where);
    if (offsetBytes === undefined) {
      throw new LessorError('ARENA_FULL', `no room for ${lengthBytes} bytes of client memory`);
    }
    let slot: GuardSlot;
    try {
      slot = this.#arena.place(offsetBytes, fd, {
        offsetBytes: startBytes,
        lengthBytes,
        writable: isWritable,
        guard: 'zeros',
      });
    } catch (error) {
      this.#pages.free(offsetBytes, lengthBytes);
      throw placementError(error);
    }
    const extent: PlacedExtent = {
      offsetBytes,
      startBytes,
      lengthBytes,
      index,
      key,
      slot,
      faultsBefore: this.#arena.faults[slot] ?? 0,
      chargeBytes,
      users: new Set(),
      accounts: new Map(),
      isReported: false,
    };
    index.byKey.set(key, extent);
    this.#placed.add(extent);
    this.#placedBytes += chargeBytes;
    return extent;
  }

  #unplace(extent: PlacedExtent): void {
    if (extent.index.byKey.get(extent.key) === extent) extent.index.byKey.delete(extent.key);
    this.#objects.close(extent.index);
    this.#placed.delete(extent);
    this.#placedBytes -= extent.chargeBytes;
    if (!this.#clear(extent)) this.#uncleared.push(extent);
  }

  /** False when the kernel could not: the range stays out of use, and holds its guard slot. */
  #clear(extent: PlacedExtent): boolean {
    try {
      this.#arena.clear(extent.offsetBytes, extent.lengthBytes, extent.slot);
    } catch (error) {
      if (!isOsError(error)) throw error;
      return false;
    }
    this.#pages.free(extent.offsetBytes, extent.lengthBytes);
    return true;
  }

  #clearAgain(): void {
    const again = this.#uncleared.splice(0);
    for (const extent of again) if (!this.#clear(extent)) this.#uncleared.push(extent);
  }
}

function checkQuota(account: DmaAccount, bytes: number): void {
  if (account.placedBytes + bytes <= account.placedBytesMax) return;
  const detail = `${bytes} more bytes are over the limit of ${account.placedBytesMax}`;
  throw new LessorError('QUOTA_EXCEEDED', detail);
}

function placementError(error: unknown): unknown {
  if (!isOsError(error)) return error;
  const options = { cause: error };
  switch (error.errno) {
    case 'ENOSPC':
    case 'ENOMEM':
      return new LessorError('ARENA_FULL', 'no more memory can be placed', options);
    case 'EACCES':
      return new LessorError('MEMORY_READ_ONLY', 'the descriptor admits no writing', options);
    case 'EPERM':
      return new LessorError('MEMORY_WRITE_SEALED', 'the memory is sealed', options);
    default:
      return new LessorError('MEMORY_NOT_SHMEM', 'the memory cannot be placed', options);
  }
}
