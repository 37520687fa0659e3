// Runs queues where memory is reached by message alone. A turn is asynchronous: it parks its
// queue and never another. Whoever disables the queue meanwhile makes the turn void.

import { faultReasons } from '../../iommu/types.js';
import type { Bus, BusFault } from '../types.js';
import { crc32c } from './crc32c.js';
import { fillPattern, sameBytes } from './data-mover.js';
import {
  accessCode,
  completionStatus,
  completionWord,
  descriptorWord,
  mqdma,
  opcode,
  queuePageWord,
} from './datasheet.js';
import { mayFetch, ringChanged } from './doorbell.js';
import { beginOperation, type Refusal, reasonIndex } from './operation.js';
import type { QueueState } from './queue-state.js';
import { changeRing } from './ring.js';
import type { SharedState } from './shared-state.js';

const { chunkBytes, completionBytes, descriptorBytes, turnBytes, turnDescriptors } = mqdma;
const { ARM, RING_CONTROL } = queuePageWord;

/** Buffers of one queue: two chunks and a completion in one, so word views fit all. */
interface Buffers {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly one: Uint8Array;
  readonly other: Uint8Array;
}

function makeBuffers(): Buffers {
  const u8 = new Uint8Array(2 * chunkBytes);
  return {
    u8,
    u32: new Uint32Array(u8.buffer),
    one: u8.subarray(0, chunkBytes),
    other: u8.subarray(chunkBytes),
  };
}

/** Thrown inside a turn: the queue was disabled or reset while a message was under way. */
const voidTurn = Symbol('void turn');

class Refused {
  readonly fault: BusFault;
  constructor(fault: BusFault) {
    this.fault = fault;
  }
}

export class MessageEngine {
  readonly #shared: SharedState;
  readonly #bus: Bus;
  readonly #buffers: (Buffers | undefined)[] = [];
  readonly #turns = new Set<Promise<void>>();

  constructor(shared: SharedState) {
    this.#shared = shared;
    this.#bus = shared.bus;
  }

  /** Starts one turn. @returns False when there was nothing to do or one is under way. */
  turn(queue: QueueState): boolean {
    if (queue.parked) return false;
    if (queue.enabled && ringChanged(queue)) {
      changeRing(this.#shared, queue, queue.page.u32[queue.page.base + RING_CONTROL]!);
      return true;
    }
    const due = queue.busy && (queue.dueMs === 0 || queue.dueMs <= this.#bus.nowMs());
    if (!due && (queue.busy || !mayFetch(queue))) return false;
    queue.parked = true;
    const turn = this.#run(queue);
    this.#turns.add(turn);
    void turn.finally(() => this.#turns.delete(turn));
    return true;
  }

  /** Resolves when the turns under way are over. */
  async settled(): Promise<void> {
    await Promise.all(this.#turns);
  }

  async #run(queue: QueueState): Promise<void> {
    const postedBefore = queue.posted;
    const faultsBefore = queue.faultCount;
    const life = queue.life;
    try {
      await this.#work(queue);
    } catch (error) {
      if (error instanceof Refused) await this.#refused(queue, life, error.fault);
      else if (error !== voidTurn) throw error;
    } finally {
      queue.parked = false;
      this.#bus.wakeAfter(0);
    }
    const changed = queue.posted !== postedBefore || queue.faultCount !== faultsBefore;
    if (changed && queue.enabled && queue.life === life) {
      const page = queue.page;
      this.#shared.signalIfArmed(queue, Atomics.load(page.u32, page.base + ARM));
    }
  }

  async #work(queue: QueueState): Promise<void> {
    let bytesLeft: number = turnBytes;
    let descriptorsLeft: number = turnDescriptors;
    while (bytesLeft > 0) {
      if (!queue.busy) {
        if (descriptorsLeft-- === 0 || !mayFetch(queue)) return;
        await this.#fetch(queue);
        if (!queue.busy) continue;
      }
      if (queue.dueMs > 0 && this.#bus.nowMs() < queue.dueMs) return;
      bytesLeft -= await this.#advance(queue);
    }
  }

  async #fetch(queue: QueueState): Promise<void> {
    queue.operationLife = queue.life;
    const { one, u32 } = this.#buffersOf(queue);
    const iova = queue.descriptorsBase + (queue.fetched & queue.entriesMask) * descriptorBytes;
    await this.#read(queue, iova, one.subarray(0, descriptorBytes));
    queue.descriptor.set(u32.subarray(0, descriptorBytes / 4));
    queue.fetched = (queue.fetched + 1) >>> 0;
    const refusal: Refusal = { access: 0, reason: 0, high: 0, low: 0 };
    const status = beginOperation(queue, refusal);
    if (status === completionStatus.FAULT) {
      const { access, reason, high, low } = refusal;
      this.#shared.recordFault(queue, access, reason, high, low);
      await this.#complete(queue, status, 0);
    } else if (status !== completionStatus.OK) {
      await this.#complete(queue, status, 0);
    } else {
      queue.busy = true;
      if (queue.delayMs > 0) queue.dueMs = this.#bus.nowMs() + queue.delayMs;
    }
  }

  /** Moves one chunk. @returns Bytes of work done, at least 1. */
  async #advance(queue: QueueState): Promise<number> {
    const length = Math.min(chunkBytes, queue.lengthBytes - queue.doneBytes);
    const same = length === 0 ? 0 : await this.#chunk(queue, length);
    queue.doneBytes += length;
    const different = same < length;
    if (different || queue.doneBytes === queue.lengthBytes) {
      queue.busy = false;
      queue.dueMs = 0;
      if (different) queue.result = queue.doneBytes - length + same;
      const status = different ? completionStatus.DIFFERENT : completionStatus.OK;
      await this.#complete(queue, status, queue.result);
    }
    return Math.max(1, length);
  }

  /** @returns How many bytes agree, for compare; else `length`. */
  async #chunk(queue: QueueState, length: number): Promise<number> {
    const buffers = this.#buffersOf(queue);
    const one = buffers.one.subarray(0, length);
    const source = queue.source + queue.doneBytes;
    const destination = queue.destination + queue.doneBytes;
    switch (queue.opcode) {
      case opcode.COPY:
        await this.#read(queue, source, one);
        await this.#write(queue, destination, one);
        return length;
      case opcode.FILL: {
        const low = queue.descriptor[descriptorWord.PATTERN]!;
        const high = queue.descriptor[descriptorWord.PATTERN + 1]!;
        fillPattern(buffers.u8, 0, length, low, high, queue.doneBytes);
        await this.#write(queue, destination, one);
        return length;
      }
      case opcode.COMPARE:
        await this.#read(queue, source, one);
        await this.#read(queue, destination, buffers.other.subarray(0, length));
        return sameBytes(buffers, 0, chunkBytes, length);
      default:
        await this.#read(queue, source, one);
        queue.result = crc32c(queue.result, buffers.u8, buffers.u32, 0, length);
        return length;
    }
  }

  async #complete(queue: QueueState, status: number, result: number): Promise<void> {
    queue.completed = (queue.completed + 1) >>> 0;
    if (!queue.connected || queue.operationLife !== queue.life) return;
    const words = new Uint32Array(completionBytes / 4);
    const phase = ((queue.posted >>> queue.entriesShift) & 1) ^ 1;
    words[completionWord.TAG] = queue.tag;
    words[completionWord.RESULT] = result;
    words[completionWord.FETCHED] = queue.fetched;
    words[completionWord.STATUS] = (status << 8) | phase;
    const iova = queue.completionsBase + (queue.posted & queue.entriesMask) * completionBytes;
    await this.#write(queue, iova, new Uint8Array(words.buffer));
    queue.posted = (queue.posted + 1) >>> 0;
  }

  async #refused(queue: QueueState, life: number, fault: BusFault): Promise<void> {
    const access = fault.access === 'write' ? accessCode.WRITE : accessCode.READ;
    const reason = faultReasons.indexOf(fault.reason);
    const underWay = queue.busy;
    const high = Math.floor(fault.iova / 2 ** 32);
    this.#shared.recordFault(queue, access, reason, high, fault.iova >>> 0);
    if (!underWay || queue.life !== life) return;
    try {
      await this.#complete(queue, completionStatus.FAULT, 0);
    } catch {
      // The holder cannot be told through its ring; the status page has the record.
    }
  }

  async #read(queue: QueueState, iova: number, into: Uint8Array): Promise<void> {
    await this.#settle(queue, iova, 'read', () => this.#bus.read(queue.pasid, iova, into));
  }

  async #write(queue: QueueState, iova: number, from: Uint8Array): Promise<void> {
    await this.#settle(queue, iova, 'write', () => this.#bus.write(queue.pasid, iova, from));
  }

  async #settle(
    queue: QueueState,
    iova: number,
    access: 'read' | 'write',
    start: () => BusFault | undefined | Promise<BusFault | undefined>,
  ): Promise<void> {
    let fault: BusFault | undefined;
    try {
      fault = await start();
    } catch {
      fault = { iova, access, reason: faultReasons[reasonIndex.notReachable]! };
    }
    // Late DMA outlives its queue's life; everything else ends with it.
    if (queue.operationLife !== queue.life && queue.dueMs === 0) throw voidTurn;
    if (fault !== undefined) throw new Refused(fault);
  }

  #buffersOf(queue: QueueState): Buffers {
    let buffers = this.#buffers[queue.index];
    if (buffers === undefined) {
      buffers = makeBuffers();
      this.#buffers[queue.index] = buffers;
    }
    return buffers;
  }
}
