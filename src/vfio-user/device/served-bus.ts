// The bus of a served device: memory of its client, directly where it was placed and by message
// elsewhere; frames, interrupts, time.
import type { Clock } from '../../base/clock.js';
import { errnoOf } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { iovaEnd } from '../../base/units.js';
import type { ConfigSpace } from '../../device/config-space.js';
import type { Bus, BusFault, DirectMemory, Frame } from '../../device/types.js';
import { faultNumber, faultReasonOf } from '../../iommu/soft/device-iommu.js';
import type { FaultReason } from '../../iommu/types.js';
import type { ClientMemory } from '../endpoint.js';
import type { DirtyLog } from './dirty-log.js';
import type { DmaMaps } from './dma-maps.js';
import type { FrameMemory } from './frame-memory.js';
import type { Interrupts } from './interrupts.js';
import type { RefusedDma } from './refused-dma.js';

/** Translations hold to the end of a page of this many bytes. */
const pageBytes = 4096;
const notAttached = faultNumber('not attached');
const notReachable = faultNumber('not reachable');

type Direction = 'read' | 'write';

export interface ServedBusParts {
  readonly config: ConfigSpace;
  readonly maps: DmaMaps;
  readonly frames: FrameMemory;
  readonly interrupts: Interrupts;
  readonly dirty: DirtyLog;
  readonly refused: RefusedDma;
  readonly clock: Clock;
  /** False: the device has no direct memory. */
  readonly isDirect: boolean;
  readonly hasIntx: boolean;
  readonly wakeAfter: (delayMs: number) => void;
  /** Who answers messages now; undefined between clients. */
  readonly client: () => ClientMemory | undefined;
}

export class ServedBus implements Bus {
  readonly direct: DirectMemory | undefined;
  readonly setIntx?: (isHigh: boolean) => void;
  readonly #parts: ServedBusParts;
  readonly #u8: Uint8Array;

  constructor(parts: ServedBusParts) {
    const { maps, interrupts } = parts;
    this.#parts = parts;
    this.#u8 = new Uint8Array(maps.buffer);
    const { faults } = maps;
    if (parts.hasIntx) this.setIntx = (isHigh) => interrupts.setIntx(isHigh);
    this.direct = parts.isDirect
      ? {
          u8: this.#u8,
          u32: new Uint32Array(maps.buffer),
          pageBytes,
          translate: (pasid, iova, access) => this.#translate(pasid, iova, access),
          faultCount: () => faults[0]!,
          generation: maps.generationOf(),
        }
      : undefined;
  }

  frame(region: number, offsetBytes: number): Frame {
    return this.#parts.frames.frame(region, offsetBytes);
  }

  read(
    pasid: number | undefined,
    iova: number,
    into: Uint8Array,
  ): BusFault | undefined | Promise<BusFault | undefined> {
    return this.#transfer(pasid, iova, into, 'read');
  }

  write(
    pasid: number | undefined,
    iova: number,
    from: Uint8Array,
  ): BusFault | undefined | Promise<BusFault | undefined> {
    return this.#transfer(pasid, iova, from, 'write');
  }

  interrupt(vector: number): void {
    this.#parts.interrupts.fire(vector);
  }

  wakeAfter(delayMs: number): void {
    this.#parts.wakeAfter(delayMs);
  }

  nowMs(): number {
    return this.#parts.clock.nowMs();
  }

  /** Bus mastering gates every address; vfio-user knows no PASIDs. */
  #translate(pasid: number | undefined, iova: number, access: Direction): number {
    const { dirty } = this.#parts;
    const place = this.#check(pasid, iova, access);
    if (place < 0) this.#tell(iova, place, access);
    if (dirty.isOn && place >= 0 && access === 'write') dirty.mark(iova);
    return place;
  }

  /** Checks the whole range before the first byte moves. */
  #transfer(
    pasid: number | undefined,
    iova: number,
    bytes: Uint8Array,
    access: Direction,
  ): BusFault | undefined | Promise<BusFault | undefined> {
    const end = iova + bytes.length;
    let byMessage = false;
    for (let at = iova; at < end; at += pageBytes - (at % pageBytes)) {
      const place = this.#check(pasid, at, access);
      if (place === notReachable) byMessage = true;
      else if (place < 0) {
        this.#tell(at, place, access);
        return { iova: at, access, reason: faultReasonOf(place) };
      }
    }
    if (byMessage) return this.#transferByMessage(pasid, iova, bytes, access);
    const { maps } = this.#parts;
    const faultsBefore = maps.faults[0]!;
    for (let at = iova; at < end; ) {
      const lengthBytes = Math.min(pageBytes - (at % pageBytes), end - at);
      const place = this.#translate(pasid, at, access);
      this.#copy(bytes.subarray(at - iova, at - iova + lengthBytes), place, access);
      at += lengthBytes;
    }
    if (maps.faults[0]! === faultsBefore) return undefined;
    maps.checkFaults();
    return { iova, access, reason: 'memory gone' };
  }

  /** What only messages reach is not refused. */
  #tell(iova: number, place: number, access: Direction): void {
    if (place !== notReachable) this.#parts.refused.tell(iova, access, faultReasonOf(place));
  }

  /** As `#translate`, without a trace. */
  #check(pasid: number | undefined, iova: number, access: Direction): number {
    const { config, maps } = this.#parts;
    if (pasid !== undefined || !config.busMaster) return notAttached;
    return maps.iommu.translate(undefined, iova, access);
  }

  #copy(part: Uint8Array, place: number, access: Direction): void {
    if (access === 'write') this.#u8.set(part, place);
    else part.set(this.#u8.subarray(place, place + part.length));
  }

  /** Memory of which some, or all, only its owner can reach. Everything is looked up anew there. */
  async #transferByMessage(
    pasid: number | undefined,
    iova: number,
    bytes: Uint8Array,
    access: Direction,
  ): Promise<BusFault | undefined> {
    const { maps, client } = this.#parts;
    const owner = client();
    // The device may change its bytes while a message is under way.
    const moved = access === 'write' ? bytes.slice() : bytes;
    const end = iova + bytes.length;
    for (let at = iova; at < end; ) {
      // Another client's memory is none of this transfer's.
      const place = client() === owner ? this.#translate(pasid, at, access) : notAttached;
      if (place < 0 && place !== notReachable) {
        return { iova: at, access, reason: faultReasonOf(place) };
      }
      const pageEnd = Math.min(at + pageBytes - (at % pageBytes), end);
      const runEnd = place === notReachable ? this.#runEnd(pageEnd, end, access) : pageEnd;
      const part = moved.subarray(at - iova, runEnd - iova);
      const faultsBefore = maps.faults[0]!;
      if (place >= 0) this.#copy(part, place, access);
      else {
        const reason = await this.#message(owner, at, part, access);
        if (reason !== undefined) return { iova: at, access, reason };
      }
      if (place >= 0 && maps.faults[0]! !== faultsBefore) {
        maps.checkFaults();
        return { iova: at, access, reason: 'memory gone' };
      }
      at = runEnd;
    }
    return undefined;
  }

  /** Where pages that only messages reach end, as far as one message goes. */
  #runEnd(from: number, end: number, access: Direction): number {
    let at = from;
    const furthest = Math.min(end, from + limits.vfioUserDataBytesMax - pageBytes);
    while (at < furthest && this.#check(undefined, at, access) === notReachable) {
      at = Math.min(at + pageBytes, end);
    }
    return at;
  }

  async #message(
    owner: ClientMemory | undefined,
    iova: number,
    part: Uint8Array,
    access: Direction,
  ): Promise<FaultReason | undefined> {
    if (owner === undefined || iova >= iovaEnd) return 'not reachable';
    try {
      if (access === 'write') {
        await owner.dmaWrite(BigInt(iova), part);
        this.#markRange(iova, part.length);
      } else {
        part.set(await owner.dmaRead(BigInt(iova), part.length));
      }
      return undefined;
    } catch (error) {
      return this.#reasonOf(error, iova, access);
    }
  }

  #markRange(iova: number, lengthBytes: number): void {
    const { dirty } = this.#parts;
    if (!dirty.isOn) return;
    for (let at = iova; at < iova + lengthBytes; at += pageBytes - (at % pageBytes)) dirty.mark(at);
  }

  /** What a failed message means to the device. Our own bugs go on to the top. */
  #reasonOf(error: unknown, iova: number, access: Direction): FaultReason {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    if (errno === 'EPERM' || errno === 'EACCES') return 'no permission';
    const place = this.#check(undefined, iova, access);
    return place < 0 ? faultReasonOf(place) : 'not reachable';
  }
}
