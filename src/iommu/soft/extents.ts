// Client memory in the arena: placed in the 2 MiB extents of an object that mappings touch, shared
// by all mappings of the same object, extent and protection, charged to every lease that uses it.
import { assert, isOsError, LessorError } from '../../base/errors.js';
import { MiB, roundDown, roundUp } from '../../base/units.js';
import type { Fd } from '../../os/fd.js';
import {
  type Arena,
  F_SEAL_SHRINK,
  type GuardSlot,
  type MemoryIdentity,
  type MemoryOs,
} from '../../os/memory-types.js';
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

/** Whose memory an extent is. */
export interface ExtentUser {
  /** The extents' own, while the user has just one of them. */
  extentSlot?: number;
}

/**
 * What a descriptor leads to, of an object sealed against shrinking. Nothing of it can change any
 * more, but that the object grows: three system calls less for each map but the first.
 */
interface KnownMemory {
  readonly fd: Fd;
  readonly identity: MemoryIdentity;
  readonly index: ObjectExtents<PlacedExtent>;
}

interface PlacedExtent extends Extent {
  readonly index: ObjectExtents<PlacedExtent>;
  readonly key: number;
  readonly slot: GuardSlot;
  readonly faultsBefore: number;
  readonly chargeBytes: number;
  /** It alone, for its many users of just one extent. */
  list: readonly PlacedExtent[];
  /** Users of just one extent; each knows its place, for a set of a million is slow. */
  readonly soleUsers: ExtentUser[];
  /** Users of several extents. */
  readonly users: Set<ExtentUser>;
  /** How many users each account pays for it. */
  readonly accounts: Map<DmaAccount, { userCount: number }>;
  isReported: boolean;
}

export interface ExtentsOptions {
  readonly arena: Arena;
  readonly memory: MemoryFacts;
  /** First byte of the arena that is for client memory; a multiple of 2 MiB. */
  readonly startBytes: number;
  /** Limit on the charges of all extents together. */
  readonly placedBytesMax: number;
  /** Where several functions share the arena: its free pages. Default all from `startBytes` on. */
  readonly pages?: ArenaPages;
}

export class Extents {
  readonly #arena: Arena;
  readonly #memory: MemoryFacts;
  readonly #pages: ArenaPages;
  readonly #placedBytesMax: number;
  readonly #objects = new ObjectIndex<PlacedExtent>();
  readonly #placed = new Set<PlacedExtent>();
  readonly #known = new WeakMap<Fd, KnownMemory>();
  #lastKnown: KnownMemory | undefined;
  /** Ranges that could not be cleared yet; tried again before the next placement. */
  readonly #uncleared: PlacedExtent[] = [];
  #placedBytes = 0;
  #faultsSeen: number;

  constructor(options: ExtentsOptions) {
    this.#arena = options.arena;
    this.#memory = options.memory;
    this.#placedBytesMax = options.placedBytesMax;
    const { arena, startBytes } = options;
    this.#pages = options.pages ?? new ArenaPages(startBytes, arena.lengthBytes);
    this.#faultsSeen = options.arena.faults[0] ?? 0;
  }

  /** Charged bytes of all extents. */
  get placedBytes(): number {
    return this.#placedBytes;
  }

  /** What is placed at an offset of the arena, for this process. */
  bytes(offsetBytes: number, lengthBytes: number): Uint8Array {
    return new Uint8Array(this.#arena.buffer, offsetBytes, lengthBytes);
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
    user: ExtentUser,
  ): readonly Extent[] {
    const end = startBytes + lengthBytes;
    const known = this.#knownOf(fd);
    if (known !== undefined && end <= known.identity.lengthBytes) {
      const key = Math.floor(startBytes / extentBytes);
      const extent = known.index.byKey.get(key * 2 + (isWritable ? 1 : 0));
      const isInside = end <= (key + 1) * extentBytes;
      if (extent !== undefined && isInside && this.#serves(extent, end - key * extentBytes)) {
        this.#pay(extent, account);
        join(extent, user);
        return extent.list;
      }
    }
    return this.#acquireAny(fd, startBytes, end, isWritable, account, user);
  }

  /**
   * Lets one more user have what another one has, whatever became of its memory object. All or
   * nothing.
   *
   * @throws LessorError `QUOTA_EXCEEDED`
   */
  share(
    extents: readonly Extent[],
    account: DmaAccount | undefined,
    user: ExtentUser,
  ): readonly Extent[] {
    const shared = extents as readonly PlacedExtent[];
    let paid = 0;
    try {
      for (; paid < shared.length; paid++) this.#pay(shared[paid]!, account);
    } catch (error) {
      for (const extent of shared.slice(0, paid)) this.#unpay(extent, account);
      throw error;
    }
    if (shared.length === 1) {
      join(shared[0]!, user);
      return shared[0]!.list;
    }
    for (const extent of shared) extent.users.add(user);
    return shared;
  }

  /**
   * Gives up a user's extents, as they were acquired. Only after the device acknowledged that
   * nothing leads there.
   */
  release(extents: readonly Extent[], account: DmaAccount | undefined, user: ExtentUser): void {
    const isSole = extents.length === 1;
    for (let index = 0; index < extents.length; index++) {
      const extent = extents[index] as PlacedExtent;
      if (isSole) leave(extent, user);
      else assert(extent.users.delete(user), 'release by who is no user');
      this.#unpay(extent, account);
      if (!isUsed(extent)) this.#unplace(extent);
    }
  }

  /**
   * Users of extents whose memory was truncated since the last call. Each extent is reported once.
   * Cheap when the guard of this process saw no fault.
   */
  takeGone(): ReadonlySet<ExtentUser> {
    const gone = new Set<ExtentUser>();
    const faults = this.#arena.faults[0] ?? 0;
    if (faults === this.#faultsSeen) return gone;
    this.#faultsSeen = faults;
    for (const extent of this.#placed) {
      if (extent.isReported || !this.#isGone(extent)) continue;
      extent.isReported = true;
      for (const user of extent.soleUsers) gone.add(user);
      for (const user of extent.users) gone.add(user);
    }
    return gone;
  }

  #acquireAny(
    fd: Fd,
    startBytes: number,
    end: number,
    isWritable: boolean,
    account: DmaAccount | undefined,
    user: ExtentUser,
  ): readonly Extent[] {
    const seals = this.#sealsOf(fd);
    const identity = this.#memory.identity(fd);
    if (end > identity.lengthBytes) {
      const detail = `the range ends at byte ${end} of ${identity.lengthBytes}`;
      throw new LessorError('MEMORY_TOO_SMALL', detail);
    }
    const index = this.#objects.open(identity);
    const taken: PlacedExtent[] = [];
    try {
      for (let at = roundDown(startBytes, extentBytes); at < end; at += extentBytes) {
        const key = (at / extentBytes) * 2 + (isWritable ? 1 : 0);
        let extent = index.byKey.get(key);
        if (extent === undefined || !this.#serves(extent, Math.min(end - at, extentBytes))) {
          extent = this.#place(fd, identity, index, key, at, isWritable, account);
        }
        // Never fails for a new one: its place was paid for in advance.
        this.#pay(extent, account);
        taken.push(extent);
      }
    } catch (error) {
      for (const extent of taken) {
        this.#unpay(extent, account);
        if (!isUsed(extent)) this.#unplace(extent);
      }
      this.#objects.close(index);
      throw error;
    }
    if (taken.length === 1) join(taken[0]!, user);
    else for (const extent of taken) extent.users.add(user);
    if ((seals & F_SEAL_SHRINK) !== 0) this.#known.set(fd, { fd, identity, index });
    return taken.length === 1 ? taken[0]!.list : taken;
  }

  #sealsOf(fd: Fd): number {
    try {
      return this.#memory.seals(fd);
    } catch (error) {
      if (!isOsError(error)) throw error;
      throw new LessorError('MEMORY_NOT_SHMEM', 'the descriptor is no memfd', { cause: error });
    }
  }

  /** What is known of a descriptor: its object, its access mode and a SHRINK seal are for ever. */
  #knownOf(fd: Fd): KnownMemory | undefined {
    let known = this.#lastKnown;
    if (known?.fd !== fd) {
      known = this.#known.get(fd);
      if (known !== undefined) this.#lastKnown = known;
    }
    return known !== undefined && fd.isOpen ? known : undefined;
  }

  /** False for one that lost its memory, or was placed before the object grew. */
  #serves(extent: PlacedExtent, neededBytes: number): boolean {
    return extent.lengthBytes >= neededBytes && !this.#isGone(extent);
  }

  #isGone(extent: PlacedExtent): boolean {
    return this.#arena.faults[extent.slot] !== extent.faultsBefore;
  }

  /** @throws LessorError `QUOTA_EXCEEDED` */
  #pay(extent: PlacedExtent, account: DmaAccount | undefined): void {
    if (account === undefined) return;
    const share = extent.accounts.get(account);
    if (share !== undefined) {
      share.userCount += 1;
      return;
    }
    checkQuota(account, extent.chargeBytes);
    account.placedBytes += extent.chargeBytes;
    extent.accounts.set(account, { userCount: 1 });
  }

  #unpay(extent: PlacedExtent, account: DmaAccount | undefined): void {
    if (account === undefined) return;
    const share = extent.accounts.get(account);
    assert(share !== undefined, 'release by an account that does not pay');
    share.userCount -= 1;
    if (share.userCount > 0) return;
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
      list: [],
      soleUsers: [],
      users: new Set(),
      accounts: new Map(),
      isReported: false,
    };
    extent.list = [extent];
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

function isUsed(extent: PlacedExtent): boolean {
  return extent.soleUsers.length > 0 || extent.users.size > 0;
}

function join(extent: PlacedExtent, user: ExtentUser): void {
  user.extentSlot = extent.soleUsers.length;
  extent.soleUsers.push(user);
}

function leave({ soleUsers }: PlacedExtent, user: ExtentUser): void {
  const slot = user.extentSlot;
  assert(slot !== undefined && soleUsers[slot] === user, 'release by who is no user');
  const last = soleUsers.pop()!;
  if (last === user) return;
  soleUsers[slot] = last;
  last.extentSlot = slot;
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
