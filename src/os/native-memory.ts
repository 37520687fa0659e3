// What native/addon/{memory,guard,arena}.c offer, call by call. Results below zero are -errno.

/** `guard` argument: no guard, whole range to ones, faulting 2 MiB to zeros. */
export const nativeGuardModes = { none: 0, ones: 1, zeros: 2 } as const;
export type NativeGuardMode = (typeof nativeGuardModes)[keyof typeof nativeGuardModes];

export interface MemoryCalls {
  /** sysconf(_SC_PAGESIZE). */
  pageBytes(): number;
  /** memfd_create. `flags` as given: callers set MFD_CLOEXEC. */
  memfdCreate(name: string, flags: number): number;
  ftruncate(fd: number, lengthBytes: number): number;
  /** fcntl F_ADD_SEALS. */
  addSeals(fd: number, seals: number): number;
  /** fcntl F_GET_SEALS. */
  getSeals(fd: number): number;
  /** fcntl F_GETFL. */
  getFlags(fd: number): number;
  /** fcntl F_DUPFD_QUERY: 1 when both are one open file, else 0. `EINVAL` before Linux 6.10. */
  sameFile(fd: number, other: number): number;
  /** fstat; writes st_dev, st_ino, st_size. `EINVAL` when `out` is shorter than 3. */
  fstat(fd: number, out: BigInt64Array): number;
  fchmod(fd: number, mode: number): number;
  /** open of /proc/self/fd/`fd`; O_CLOEXEC is added. */
  reopen(fd: number, flags: number): number;
  /**
   * mmap MAP_SHARED, guarded when asked.
   *
   * @param slotOut - Receives the guard slot, or 0 when not guarded.
   * @returns An external buffer, or -errno: `ENOSPC` when the guard table is full.
   */
  map(
    fd: number,
    offsetBytes: number,
    lengthBytes: number,
    writable: boolean,
    guard: NativeGuardMode,
    slotOut: Int32Array,
  ): ArrayBuffer | number;
  /** Detaches the buffer, frees its guard slot, then munmap. `EINVAL` when it is no mapping. */
  unmap(buffer: ArrayBuffer): number;
  /** Replaces the mapping by private all-ones pages of the same protection. */
  poison(buffer: ArrayBuffer): number;

  /** madvise MADV_HUGEPAGE of the whole pages inside a view; `EINVAL` when it holds none. */
  adviseHugePages(view: Int32Array): number;

  /** Installs the SIGBUS handler, also when something replaced it. */
  guardInstall(): number;
  /** True when the SIGBUS handler of this process is the guard's. */
  guardCheck(): boolean;
  /** Fault counters of every slot as int32; 0 is the total. One buffer per environment. */
  guardFaults(): ArrayBuffer;

  /** Reserves PROT_NONE address space, never returned. @returns The arena's id, from 1. */
  arenaCreate(lengthBytes: number): number;
  /** One buffer per environment over the whole reservation, or -errno. */
  arenaBuffer(id: number): ArrayBuffer | number;
  /** mmap MAP_FIXED | MAP_SHARED inside an arena. @returns The guard slot, 0 without guard. */
  arenaPlace(
    id: number,
    offsetBytes: number,
    fd: number,
    fdOffsetBytes: number,
    lengthBytes: number,
    writable: boolean,
    guard: NativeGuardMode,
  ): number;
  /** mmap MAP_FIXED of private writable zero pages; guard slots stay. */
  arenaZero(id: number, offsetBytes: number, lengthBytes: number): number;
  /** mmap MAP_FIXED of PROT_NONE; frees `slot` unless it is 0. */
  arenaClear(id: number, offsetBytes: number, lengthBytes: number, slot: number): number;
}
