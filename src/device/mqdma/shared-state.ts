// What all queues of one device share: the bus, pending faults, injected death.
import type { Bus } from '../types.js';
import { mqdma, ringState, statusPageWord } from './datasheet.js';
import type { QueueState } from './queue-state.js';

export class SharedState {
  readonly bus: Bus;
  readonly queues: readonly QueueState[];
  readonly errorVector: number;
  readonly faultPending = new Uint32Array(mqdma.faultPendingWords);

  constructor(bus: Bus, queues: readonly QueueState[]) {
    this.bus = bus;
    this.queues = queues;
    this.errorVector = queues.length;
  }

  /** Fires the queue's interrupt if its holder armed it and it was not fired for that arming. */
  signalIfArmed(queue: QueueState, arm: number): void {
    if (arm === 0 || arm === queue.armFired) return;
    queue.armFired = arm;
    if (queue.lostInterrupts > 0) {
      if (queue.lostInterrupts !== 0xffffffff) queue.lostInterrupts--;
      return;
    }
    this.bus.interrupt(queue.index);
  }

  /** Stops a queue for a refused DMA and reports it to its holder and to the driver. */
  recordFault(queue: QueueState, access: number, reason: number, high: number, low: number): void {
    queue.busy = false;
    queue.dueMs = 0;
    queue.faultCount = (queue.faultCount + 1) >>> 0;
    queue.faultAccess = access;
    queue.faultReason = reason + 1;
    queue.faultLow = low;
    queue.faultHigh = high;
    // Late DMA of an earlier life is the driver's business alone: the rings may be another's now.
    if (queue.operationLife === queue.life) {
      queue.stopped = true;
      this.#publishFault(queue);
    }
    const word = queue.index >>> 5;
    this.faultPending[word] = this.faultPending[word]! | (1 << (queue.index & 31));
    this.bus.interrupt(this.errorVector);
  }

  #publishFault(queue: QueueState): void {
    const { u32, base } = queue.status;
    queue.ringFaultCount = (queue.ringFaultCount + 1) >>> 0;
    u32[base + statusPageWord.FAULT_COUNT] = queue.ringFaultCount;
    u32[base + statusPageWord.FAULT_ACCESS] = queue.faultAccess;
    u32[base + statusPageWord.FAULT_REASON] = queue.faultReason;
    u32[base + statusPageWord.FAULT_IOVA_LOW] = queue.faultLow;
    u32[base + statusPageWord.FAULT_IOVA_HIGH] = queue.faultHigh;
    queue.publishState(ringState.FAULTED, 0);
  }
}
