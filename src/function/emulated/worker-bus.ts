// The bus that a device sees in the worker: frames, translated memory, interrupts, time.
import type { Clock } from '../../base/clock.js';
import type { Bus, BusFault, DirectMemory, Frame } from '../../device/types.js';
import { generationWord } from '../../iommu/soft/control.js';
import type { DeviceIommu } from '../../iommu/soft/device-iommu.js';
import { faultReasonOf } from '../../iommu/soft/device-iommu.js';
import type { FaultReason } from '../../iommu/types.js';
import type { EventSignaller } from '../../os/event-types.js';
import type { Arena } from '../../os/memory-types.js';
import type { ControlBlock } from './control-block.js';
import { word } from './control-block.js';
import { pushFault } from './fault-ring.js';
import type { WorkerFrames } from './worker-frames.js';

/** Translations hold to the end of a page of this many bytes. */
const pageBytes = 4096;

export interface WorkerBusParts {
  readonly control: ControlBlock;
  readonly arena: Arena;
  readonly u32: Uint32Array;
  readonly frames: WorkerFrames;
  readonly iommu: DeviceIommu;
  /** Control words of the IOMMU. */
  readonly invalidations: Int32Array;
  readonly signaller: EventSignaller;
  readonly clock: Clock;
  readonly notify: () => void;
}

export class WorkerBus implements Bus {
  readonly direct: DirectMemory;
  readonly #parts: WorkerBusParts;
  readonly #u8: Uint8Array;
  #wakeAtMs = Number.POSITIVE_INFINITY;

  constructor(parts: WorkerBusParts) {
    this.#parts = parts;
    this.#u8 = new Uint8Array(parts.arena.buffer);
    const { faults } = parts.arena;
    const { invalidations } = parts;
    this.direct = {
      u8: this.#u8,
      u32: parts.u32,
      pageBytes,
      translate: (pasid, iova, access) => this.#translate(pasid, iova, access),
      faultCount: () => faults[0]!,
      generation: () => invalidations[generationWord]!,
    };
  }

  /** When the device wants its next step, in clock milliseconds; Infinity: not on its own. */
  get wakeAtMs(): number {
    return this.#wakeAtMs;
  }

  /** The wish was granted. */
  clearWake(): void {
    this.#wakeAtMs = Number.POSITIVE_INFINITY;
  }

  frame(region: number, offsetBytes: number): Frame {
    return this.#parts.frames.frame(region, offsetBytes);
  }

  read(pasid: number | undefined, iova: number, into: Uint8Array): BusFault | undefined {
    return this.#transfer(pasid, iova, into, 'read');
  }

  write(pasid: number | undefined, iova: number, from: Uint8Array): BusFault | undefined {
    return this.#transfer(pasid, iova, from, 'write');
  }

  yieldPoint(): void {
    this.#parts.iommu.poll();
  }

  interrupt(vector: number): void {
    const { control, signaller } = this.#parts;
    const fd = vector < control.vectors.length ? Atomics.load(control.vectors, vector) : -1;
    if (fd < 0) return;
    const result = signaller.signal(fd);
    if (result >= 0) return;
    Atomics.store(control.words, word.signalErrno, -result);
    Atomics.add(control.words, word.signalFailures, 1);
    this.#parts.notify();
  }

  wakeAfter(delayMs: number): void {
    this.#wakeAtMs = Math.min(this.#wakeAtMs, this.nowMs() + delayMs);
  }

  nowMs(): number {
    return this.#parts.clock.nowMs();
  }

  #translate(pasid: number | undefined, iova: number, access: 'read' | 'write'): number {
    const at = this.#parts.iommu.translate(pasid, iova, access);
    if (at < 0) this.#report(pasid, iova, access, faultReasonOf(at));
    return at;
  }

  /** Checks the whole range before the first byte moves. */
  #transfer(
    pasid: number | undefined,
    iova: number,
    bytes: Uint8Array,
    access: 'read' | 'write',
  ): BusFault | undefined {
    const { iommu } = this.#parts;
    const end = iova + bytes.length;
    for (let at = iova; at < end; at += pageBytes - (at % pageBytes)) {
      const place = this.#translate(pasid, at, access);
      if (place < 0) return { iova: at, access, reason: faultReasonOf(place) };
    }
    const faultsBefore = this.direct.faultCount();
    for (let at = iova; at < end; ) {
      const lengthBytes = Math.min(pageBytes - (at % pageBytes), end - at);
      const place = this.#translate(pasid, at, access);
      // Unmapped under way: what moved before was mapped then.
      if (place < 0) return { iova: at, access, reason: faultReasonOf(place) };
      const part = bytes.subarray(at - iova, at - iova + lengthBytes);
      if (access === 'write') this.#u8.set(part, place);
      else part.set(this.#u8.subarray(place, place + lengthBytes));
      at += lengthBytes;
      iommu.poll();
    }
    if (this.direct.faultCount() === faultsBefore) return undefined;
    return this.#report(pasid, iova, access, 'memory gone');
  }

  #report(
    pasid: number | undefined,
    iova: number,
    access: 'read' | 'write',
    reason: FaultReason,
  ): BusFault {
    pushFault(this.#parts.control, { pasid, iova, access, reason });
    this.#parts.notify();
    return { iova, access, reason };
  }
}
