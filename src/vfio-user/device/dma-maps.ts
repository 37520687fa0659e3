// What the client lets the device reach: its maps in order, behind them a software IOMMU whose
// device side is this same thread, asleep between steps, so that every unmap is in effect at once.
import type { Clock } from '../../base/clock.js';
import { isLessorError, LessorError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { Serial } from '../../base/serial.js';
import { hex, iovaEnd, MiB } from '../../base/units.js';
import { type CheckedMap, checkMap, type MapRules } from '../../iommu/memory-check.js';
import { generationWord } from '../../iommu/soft/control.js';
import { DeviceIommu } from '../../iommu/soft/device-iommu.js';
import { LowIntervals } from '../../iommu/soft/low-intervals.js';
import { createSoftIommu, type SoftIommu } from '../../iommu/soft/soft-iommu.js';
import { causeOf } from '../../iommu/space-share.js';
import type { Access, DmaAccount } from '../../iommu/types.js';
import type { MemoryIdentity, MemoryOs } from '../../os/memory-types.js';
import { IOMMU_IOAS_MAP_READABLE, IOMMU_IOAS_MAP_WRITEABLE } from '../../uapi/iommufd.js';
import type { DmaMapRequest, DmaRange } from '../endpoint.js';
import { joinArena, type SharedArena } from './shared-arena.js';

/** Of page tables: all that the limit on table pages admits, and the nodes above them. */
const tableBytes = 64 * MiB;
const pageBytes = 4096;
/** Maps removed before others have their turn. */
const removalsPerTurn = 512;

const rules: MapRules = {
  window: { start: 0, end: iovaEnd },
  pageBytes,
  // Monitors of virtual machines seal nothing: the SIGBUS guard stands over their memory.
  allowUnsealedMemory: true,
};

interface DmaMap {
  readonly at: number;
  readonly end: number;
  /** Undefined: neither readable nor writable. */
  readonly access: Access | undefined;
  /** Of the memory that came with it. */
  readonly file:
    | { readonly identity: MemoryIdentity | undefined; readonly offsetBytes: bigint }
    | undefined;
}

export interface DmaMapsOptions {
  readonly memory: MemoryOs;
  readonly clock: Clock;
  /** `message`: no memory is placed here, all of it is reached by message. */
  readonly mode: 'direct' | 'message';
  /** Bytes of client memory that may be placed in the arena. */
  readonly placedBytesMax: number;
}

function macrotask(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function accessOf({ readable, writable }: DmaMapRequest): Access | undefined {
  if (readable) return writable ? 'read-write' : 'read';
  return writable ? 'write' : undefined;
}

function protectionOf(access: Access): number {
  const read = access === 'write' ? 0 : IOMMU_IOAS_MAP_READABLE;
  return read | (access === 'read' ? 0 : IOMMU_IOAS_MAP_WRITEABLE);
}

/** Memory that cannot be placed is reached by message; what is wrong with the request is told. */
function isPlacementError(error: unknown): boolean {
  return (
    isLessorError(error, 'MEMORY_NOT_SHMEM') ||
    isLessorError(error, 'ARENA_FULL') ||
    isLessorError(error, 'QUOTA_EXCEEDED')
  );
}

export class DmaMaps implements Disposable {
  readonly iommu: DeviceIommu;
  readonly account: DmaAccount;
  readonly #options: DmaMapsOptions;
  readonly #arena: SharedArena;
  readonly #soft: SoftIommu;
  readonly #ioasId: number;
  readonly #maps = new LowIntervals<DmaMap>();
  /** A removal that takes several turns must not meet maps that came after it. */
  readonly #removals = new Serial();
  #faultsSeen: number;

  /** @throws OsError when the process can have no arena. */
  constructor(options: DmaMapsOptions) {
    const { memory, clock, placedBytesMax } = options;
    this.#options = options;
    this.account = {
      placedBytesMax,
      tablePagesMax: limits.tablePagesPerLeaseMax,
      placedBytes: 0,
      tablePages: 0,
    };
    this.#arena = joinArena(memory);
    const { arena, pages } = this.#arena;
    this.#soft = createSoftIommu({
      arena,
      clientPages: pages,
      layout: { windowBytes: 0 },
      memory,
      clock,
      pasidBits: 0,
      tableBytes,
      placedBytesMax,
    });
    const { iommufd, device, handles } = this.#soft;
    this.#ioasId = iommufd.ioasAlloc();
    const hwptId = iommufd.hwptAlloc({ flags: 0, devId: device.id, ptId: this.#ioasId });
    device.attach(hwptId);
    this.iommu = new DeviceIommu(handles);
    this.iommu.park();
    this.#faultsSeen = this.faults[0]!;
    iommufd.onMemoryGone(({ iova }) => this.#memoryGone(Number(iova)));
  }

  get count(): number {
    return this.#maps.size;
  }

  /** The arena that `iommu` translates to. */
  get buffer(): ArrayBuffer {
    return this.#arena.arena.buffer;
  }

  /** Guard faults of the process; word 0 counts all. */
  get faults(): Int32Array {
    return this.#arena.arena.faults;
  }

  /** Differs once a translation made before may be gone. */
  generationOf(): () => number {
    const words = new Int32Array(this.#soft.handles.control);
    return () => words[generationWord]!;
  }

  /** Whatever translations the device keeps, it must make anew. */
  invalidate(): void {
    this.#soft.invalidation.acknowledgeNow();
  }

  /**
   * Adds a map. Takes ownership of `request.fd` in every outcome. The same map once more is a
   * success, as in libvfio-user.
   *
   * @throws LessorError `MEMORY_*`, `IOVA_*`, `QUOTA_EXCEEDED` over `limits.mapsPerLeaseMax`.
   */
  map(request: DmaMapRequest): void {
    try {
      this.#map(request);
    } finally {
      request.fd?.close();
    }
  }

  /**
   * Removes every map wholly inside the range; none is a success, for QEMU sends huge ranges.
   *
   * @throws LessorError `IOVA_NOT_MAPPED` when the range cuts a map; nothing is removed then.
   */
  unmap(range: DmaRange): Promise<void> {
    return this.#removals.run(() => this.#unmap(range));
  }

  /** Resolves when nothing is left of what was mapped before. */
  unmapAll(): Promise<void> {
    return this.#removals.run(() => this.#removeInside(0, iovaEnd));
  }

  /** True when any of the range is mapped. */
  isMapped({ iova, lengthBytes }: DmaRange): boolean {
    if (iova >= BigInt(iovaEnd)) return false;
    const last = iova + lengthBytes;
    const end = last > BigInt(iovaEnd) ? iovaEnd : Number(last);
    return this.#maps.firstMeeting(Number(iova), end) !== undefined;
  }

  /**
   * After the device touched memory: maps whose memory had vanished are reached by message from
   * then on, for only the client can say what is left of it. Cheap when nothing happened.
   */
  checkFaults(): void {
    const faults = this.faults[0]!;
    if (faults === this.#faultsSeen) return;
    this.#faultsSeen = faults;
    this.#soft.iommufd.checkFaults();
  }

  /** Removes everything at once. The device runs no more. */
  [Symbol.dispose](): void {
    for (const map of [...this.#maps]) this.#maps.take(map.at, map.end);
    this.#soft.iommufd[Symbol.dispose]();
    this.#arena[Symbol.dispose]();
  }

  #map(request: DmaMapRequest): void {
    const access = accessOf(request);
    const { checked, identity } = this.#check(request, access ?? 'read');
    const { iova: at, lengthBytes } = checked;
    const end = at + lengthBytes;
    const { fd, offsetBytes } = request;
    const file = fd === undefined ? undefined : { identity, offsetBytes };
    const map: DmaMap = { at, end, access, file };
    if (!this.#maps.isFree(at, end)) {
      const other = this.#maps.firstMeeting(at, end);
      if (other !== undefined && isSame(map, other)) return;
      throw new LessorError('IOVA_OVERLAP', `something is mapped in ${hex(at)} to ${hex(end)}`);
    }
    if (this.#maps.size >= limits.mapsPerLeaseMax) {
      throw new LessorError('QUOTA_EXCEEDED', `${limits.mapsPerLeaseMax} maps is the limit`);
    }
    if (access !== undefined) this.#place(checked, access);
    this.#maps.insert(map);
  }

  /** A copy of the request whose `fd` is absent when the memory cannot be placed. */
  #check(
    request: DmaMapRequest,
    access: Access,
  ): { readonly checked: CheckedMap; readonly identity: MemoryIdentity | undefined } {
    const { memory } = this.#options;
    const { fd, offsetBytes, iova, lengthBytes } = request;
    const asked = { fd, offsetBytes, iova, lengthBytes, access };
    try {
      const checked = checkMap(memory, asked, rules);
      return { checked, identity: fd === undefined ? undefined : memory.identity(fd) };
    } catch (error) {
      if (fd === undefined || !isLessorError(error, 'MEMORY_NOT_SHMEM')) throw error;
      const checked = checkMap(memory, { ...asked, fd: undefined }, rules);
      return { checked, identity: undefined };
    }
  }

  #place(checked: CheckedMap, access: Access): void {
    const fd = this.#options.mode === 'direct' ? checked.fd : undefined;
    try {
      this.#enter({ ...checked, fd }, access);
    } catch (error) {
      if (fd === undefined || !isPlacementError(error)) throw error;
      this.#enter({ ...checked, fd: undefined }, access);
    }
  }

  /** Into the page tables; without a descriptor as memory that only messages reach. */
  #enter({ fd, offsetBytes, iova, lengthBytes }: CheckedMap, access: Access): void {
    const flags = protectionOf(access);
    const start = fd === undefined ? 0 : offsetBytes;
    const { account } = this;
    try {
      const ioasId = this.#ioasId;
      this.#soft.iommufd.ioasMapLow({
        flags,
        ioasId,
        fd,
        start,
        length: lengthBytes,
        iova,
        account,
      });
    } catch (error) {
      throw causeOf(error);
    }
  }

  async #unmap(range: DmaRange): Promise<void> {
    if (range.iova >= BigInt(iovaEnd)) return;
    const at = Number(range.iova);
    const last = range.iova + range.lengthBytes;
    const end = last > BigInt(iovaEnd) ? iovaEnd : Number(last);
    const first = this.#maps.firstMeeting(at, end);
    if (first === undefined) return;
    const highest = this.#maps.firstMeeting(end - 1, end);
    const cut = first.at < at ? first : highest !== undefined && highest.end > end && highest;
    if (cut) {
      const where = `${hex(cut.at)}+${hex(cut.end - cut.at)}`;
      throw new LessorError('IOVA_NOT_MAPPED', `the range cuts the map at ${where}`);
    }
    await this.#removeInside(at, end);
  }

  async #removeInside(at: number, end: number): Promise<void> {
    for (let count = 1; ; count++) {
      const map = this.#maps.firstMeeting(at, end);
      if (map === undefined) return;
      this.#maps.take(map.at, map.end);
      this.#leave(map);
      if (count % removalsPerTurn === 0) await macrotask();
    }
  }

  #leave({ at, end, access }: DmaMap): void {
    if (access !== undefined) this.#soft.iommufd.ioasUnmapLow(this.#ioasId, at, end - at);
  }

  #memoryGone(iova: number): void {
    const map = this.#maps.firstMeeting(iova, iova + 1);
    if (map?.access === undefined) return;
    const { at, end, access } = map;
    this.#leave(map);
    const lengthBytes = end - at;
    this.#enter(
      { fd: undefined, offsetBytes: 0, iova: at as CheckedMap['iova'], lengthBytes, access },
      access,
    );
  }
}

function isSame(one: DmaMap, other: DmaMap): boolean {
  const isPlaced = one.at === other.at && one.end === other.end && one.access === other.access;
  if (!isPlaced) return false;
  if (one.file === undefined || other.file === undefined) return one.file === other.file;
  const a = one.file.identity;
  const b = other.file.identity;
  if (a === undefined || b === undefined) return false;
  const isOneFile = a.device === b.device && a.inode === b.inode;
  return isOneFile && one.file.offsetBytes === other.file.offsetBytes;
}
