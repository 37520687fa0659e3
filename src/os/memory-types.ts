// Memory objects, mappings and the arena: what the typed face of native/ offers.
import type { Fd } from './fd.js';

export const F_SEAL_SEAL = 0x1;
export const F_SEAL_SHRINK = 0x2;
export const F_SEAL_GROW = 0x4;
export const F_SEAL_WRITE = 0x8;
export const F_SEAL_FUTURE_WRITE = 0x10;

export interface MemoryIdentity {
  /** st_dev and st_ino: two descriptors of one object agree in both. */
  readonly device: bigint;
  readonly inode: bigint;
  readonly lengthBytes: number;
  readonly access: 'read' | 'write' | 'read-write';
}

/**
 * What the SIGBUS guard does when a guarded range loses its memory: `ones` remaps the whole range
 * to a sealed all-ones memfd (a window); `zeros` replaces the faulting 2 MiB by private zero pages
 * (client memory).
 */
export type GuardMode = 'ones' | 'zeros';

export interface MapSpec {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly writable: boolean;
  /** Absent: not guarded, for memory that nobody else can truncate. */
  readonly guard?: GuardMode;
}

/** A shared mapping of a memory object. Disposing detaches the buffer, then unmaps. */
export interface Mapping extends Disposable {
  readonly buffer: ArrayBuffer;
  readonly lengthBytes: number;
  /**
   * True once the SIGBUS handler of this process found the object truncated (the first load or
   * store after the truncation sets it), and after `poison`. A plain load; keeps its value after
   * disposal.
   */
  readonly revoked: boolean;
  /** Replaces the memory by private all-ones pages now; later loads read ones. */
  poison(): void;
}

/** Index into `Arena.faults`; 0 is the count of all guard faults of the process. */
export type GuardSlot = number;

/**
 * One PROT_NONE reservation, seen as a single ArrayBuffer by every thread of the process. Ranges
 * are page-aligned bytes from its start; the caller keeps track of what is where.
 * Touching what was not placed is SIGSEGV: our own bug.
 */
export interface Arena {
  readonly id: number;
  readonly lengthBytes: number;
  readonly buffer: ArrayBuffer;
  /** `faults[slot]` counts guard faults of the range placed with that slot; shared, live. */
  readonly faults: Int32Array;
  /**
   * Maps part of a memory object over a range (MAP_FIXED | MAP_SHARED). Takes no ownership.
   * Offsets and length are multiples of the page, of the huge page for hugetlb.
   *
   * @returns The guard slot, 0 when `spec` asks for no guard.
   * @throws OsError errno of mmap, with the range back at PROT_NONE; `ENOSPC` when the guard table
   *   is full; `EEXIST` when part of the range is still guarded (`clear` it first); `EINVAL` for
   *   a range outside the arena or off the page.
   */
  place(offsetBytes: number, fd: Fd, spec: MapSpec): GuardSlot;
  /**
   * One MAP_FIXED of private, writable, zero pages. Guard slots that lie inside the range stay
   * until `clear`; a handler still at work for one of them is waited for, so that zeros stay.
   */
  zero(offsetBytes: number, lengthBytes: number): void;
  /**
   * Returns a range to PROT_NONE and frees its guard slot, if it has one.
   *
   * @throws OsError `EINVAL` when `slot` guards nothing inside the range.
   */
  clear(offsetBytes: number, lengthBytes: number, slot: GuardSlot | undefined): void;
}

export interface MemoryOs {
  readonly pageBytes: number;
  /**
   * memfd_create(MFD_CLOEXEC | MFD_ALLOW_SEALING) and ftruncate to `lengthBytes`; the name shows
   * in /proc maps as `/memfd:<name>`.
   */
  create(name: string, lengthBytes: number): Fd;
  /** fcntl F_ADD_SEALS, only on objects that no client holds: it can block otherwise. */
  addSeals(fd: Fd, seals: number): void;
  /** fcntl F_GET_SEALS; never blocks. @throws OsError `EINVAL` when not shmem or hugetlb. */
  seals(fd: Fd): number;
  /** fstat and F_GETFL. Only after `seals` succeeded: fstat of a foreign file can hang. */
  identity(fd: Fd): MemoryIdentity;
  /**
   * True when both descriptors are one open file, as a descriptor and what a peer got and sent back
   * are; false also where the kernel (before 6.10) cannot tell. Asks nothing of the file, whoever
   * made it: never blocks. @throws OsError `EBADF`
   */
  isSameFile(fd: Fd, other: Fd): boolean;
  /** ftruncate, only on objects that no client holds. */
  truncate(fd: Fd, lengthBytes: number): void;
  setMode(fd: Fd, mode: number): void;
  /** A new open file description by /proc/self/fd, O_RDONLY | O_CLOEXEC. */
  reopenReadOnly(fd: Fd): Fd;
  /**
   * mmap MAP_SHARED. For a foreign descriptor only after `seals` succeeded.
   *
   * @throws OsError errno of mmap; `ENOSPC` when the guard table is full; `EINVAL` for a window
   *   over `limits.windowBytesMax`; `EFBIG` over 4 GiB.
   */
  map(fd: Fd, spec: MapSpec): Mapping;
  /**
   * Asks the kernel for huge pages (madvise MADV_HUGEPAGE) where a view of anonymous memory was
   * not touched yet. Advice: a kernel that gives none leaves the memory as it is.
   */
  adviseHugePages(view: Int32Array): void;
  /** Reserves an arena, in multiples of 2 MiB, at most 4 GiB. Lives as long as the process. */
  createArena(lengthBytes: number): Arena;
  /** The same arena in another thread. */
  openArena(id: number): Arena;
}
