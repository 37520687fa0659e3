// Runs queues over translated memory: fetch, execute, complete. The step machine of one queue's
// turn; no allocation, no closures. What the holder wrote is read once, then checked.
import { assert } from '../../base/errors.js';
import type { Bus, DirectMemory } from '../types.js';
import { DataMover, moved } from './data-mover.js';
import {
  accessCode,
  completionStatus,
  completionWord,
  mqdma,
  opcode,
  queuePageWord,
} from './datasheet.js';
import { mayFetch, ringChanged } from './doorbell.js';
import { beginOperation, type Refusal, reasonIndex } from './operation.js';
import type { QueueState } from './queue-state.js';
import { changeRing } from './ring.js';
import type { SharedState } from './shared-state.js';

const { completionBytes, descriptorBytes, turnBytes, turnDescriptors } = mqdma;
const { ARM, RING_CONTROL } = queuePageWord;
const { TAG, RESULT, FETCHED, STATUS } = completionWord;

export class DirectEngine {
  readonly #shared: SharedState;
  readonly #bus: Bus;
  readonly #memory: DirectMemory;
  readonly #mover: DataMover;
  readonly #pageMask: number;
  readonly #keepsTranslations: boolean;
  readonly #refusal: Refusal = { access: 0, reason: 0, high: 0, low: 0 };

  constructor(shared: SharedState, memory: DirectMemory) {
    this.#shared = shared;
    this.#bus = shared.bus;
    this.#memory = memory;
    this.#mover = new DataMover(memory);
    this.#pageMask = memory.pageBytes - 1;
    this.#keepsTranslations = memory.generation !== undefined;
    assert(memory.pageBytes >= descriptorBytes, 'a page holds a descriptor');
  }

  /**
   * One turn of one queue: at most 32 descriptors or 64 KiB, then its interrupt if that is due.
   *
   * @returns False when there was nothing to do.
   */
  turn(queue: QueueState): boolean {
    if (queue.enabled && ringChanged(queue)) {
      changeRing(this.#shared, queue, queue.page.u32[queue.page.base + RING_CONTROL]!);
      return true;
    }
    const postedBefore = queue.posted;
    const faultsBefore = queue.faultCount;
    let descriptorsLeft: number = turnDescriptors;
    let bytesLeft: number = turnBytes;
    while (bytesLeft > 0) {
      if (!queue.busy) {
        if (descriptorsLeft === 0 || !mayFetch(queue)) break;
        descriptorsLeft--;
        this.#fetch(queue);
        if (!queue.busy) continue;
      }
      if (queue.dueMs > 0 && this.#bus.nowMs() < queue.dueMs) break;
      bytesLeft -= this.#advance(queue);
      this.#bus.yieldPoint?.();
    }
    if (queue.posted !== postedBefore || queue.faultCount !== faultsBefore) this.#signal(queue);
    return descriptorsLeft !== turnDescriptors || bytesLeft !== turnBytes;
  }

  /** A turn is over when it returns. */
  settled(): void {}

  /** Completions are published: ARM is read after them, so a holder that armed first is woken. */
  #signal(queue: QueueState): void {
    if (!queue.enabled) return;
    const page = queue.page;
    this.#shared.signalIfArmed(queue, Atomics.load(page.u32, page.base + ARM));
  }

  #fetch(queue: QueueState): void {
    queue.operationLife = queue.life;
    const iova = queue.descriptorsBase + (queue.fetched & queue.entriesMask) * descriptorBytes;
    const offset = this.#descriptorAt(queue, iova);
    if (offset < 0) {
      this.#fault(queue, accessCode.READ, -1 - offset, iova);
      return;
    }
    const memory = this.#memory;
    const faults = memory.faultCount();
    const u32 = memory.u32;
    const words = queue.descriptor;
    const from = offset >>> 2;
    for (let index = 0; index < 16; index++) words[index] = u32[from + index]!;
    if (memory.faultCount() !== faults) {
      this.#fault(queue, accessCode.READ, reasonIndex.memoryGone, iova);
      return;
    }
    queue.fetched = (queue.fetched + 1) >>> 0;
    this.#begin(queue);
  }

  #begin(queue: QueueState): void {
    const refusal = this.#refusal;
    const status = beginOperation(queue, refusal);
    if (status === completionStatus.FAULT) {
      this.#stopAt(queue, refusal.access, refusal.reason, refusal.high, refusal.low);
    } else if (status !== completionStatus.OK) {
      this.#complete(queue, status, 0);
    } else if (queue.delayMs > 0) {
      queue.busy = true;
      queue.dueMs = this.#bus.nowMs() + queue.delayMs;
    } else if (queue.opcode === opcode.NOP) {
      this.#complete(queue, completionStatus.OK, 0);
    } else {
      queue.busy = true;
    }
  }

  /** Moves one chunk of the operation under way. @returns Bytes of work done, at least 1. */
  #advance(queue: QueueState): number {
    const before = queue.doneBytes;
    const outcome = queue.lengthBytes === 0 ? moved.done : this.#mover.chunk(queue);
    if (outcome === moved.more) return queue.doneBytes - before;
    queue.busy = false;
    queue.dueMs = 0;
    if (outcome === moved.fault) {
      const { faultAccess, faultReason, faultIova } = this.#mover;
      const high = Math.floor(faultIova / 2 ** 32);
      this.#stopAt(queue, faultAccess, faultReason, high, faultIova >>> 0);
    } else if (outcome === moved.different) {
      this.#complete(queue, completionStatus.DIFFERENT, queue.result);
      return queue.result - before + 1;
    } else {
      this.#complete(queue, completionStatus.OK, queue.result);
    }
    return Math.max(1, queue.doneBytes - before);
  }

  /** Stops the queue; the descriptor's completion tells the holder which one it was. */
  #stopAt(queue: QueueState, access: number, reason: number, high: number, low: number): void {
    // In this order: whoever sees the completion finds the record.
    this.#shared.recordFault(queue, access, reason, high, low);
    this.#complete(queue, completionStatus.FAULT, 0);
  }

  #fault(queue: QueueState, access: number, reason: number, iova: number): void {
    this.#shared.recordFault(queue, access, reason, Math.floor(iova / 2 ** 32), iova >>> 0);
  }

  /** Writes a completion by DMA, its last word last. Nothing where the rings are gone. */
  #complete(queue: QueueState, status: number, result: number): void {
    queue.completed = (queue.completed + 1) >>> 0;
    if (!queue.connected || queue.operationLife !== queue.life) return;
    const iova = queue.completionsBase + (queue.posted & queue.entriesMask) * completionBytes;
    const offset = this.#completionAt(queue, iova);
    if (offset < 0) {
      this.#fault(queue, accessCode.WRITE, -1 - offset, iova);
      return;
    }
    const memory = this.#memory;
    const faults = memory.faultCount();
    const u32 = memory.u32;
    const to = offset >>> 2;
    const phase = ((queue.posted >>> queue.entriesShift) & 1) ^ 1;
    u32[to + TAG] = queue.tag;
    u32[to + RESULT] = result;
    u32[to + FETCHED] = queue.fetched;
    Atomics.store(u32, to + STATUS, (status << 8) | phase);
    queue.posted = (queue.posted + 1) >>> 0;
    if (memory.faultCount() !== faults) {
      this.#fault(queue, accessCode.WRITE, reasonIndex.memoryGone, iova);
    }
  }

  /** Byte offset of a descriptor, or a negative reason. Keeps the page's translation. */
  #descriptorAt(queue: QueueState, iova: number): number {
    const within = iova & this.#pageMask;
    const page = iova - within;
    if (!this.#isCurrent(queue) || page !== queue.descriptorPage) {
      const offset = this.#memory.translate(queue.pasid, iova, 'read');
      queue.descriptorPage = offset < 0 ? -1 : page;
      queue.descriptorOffset = offset - within;
      return offset;
    }
    return queue.descriptorOffset + within;
  }

  #completionAt(queue: QueueState, iova: number): number {
    const within = iova & this.#pageMask;
    const page = iova - within;
    if (!this.#isCurrent(queue) || page !== queue.completionPage) {
      const offset = this.#memory.translate(queue.pasid, iova, 'write');
      queue.completionPage = offset < 0 ? -1 : page;
      queue.completionOffset = offset - within;
      return offset;
    }
    return queue.completionOffset + within;
  }

  /** True when the translations kept by the queue still hold; forgets them otherwise. */
  #isCurrent(queue: QueueState): boolean {
    if (!this.#keepsTranslations) return false;
    const generation = this.#memory.generation!();
    if (generation === queue.ringGeneration) return true;
    queue.ringGeneration = generation;
    queue.descriptorPage = -1;
    queue.completionPage = -1;
    return false;
  }
}
