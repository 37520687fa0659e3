// BAR0: what the driver reads and writes. 32-bit words; every write takes effect at once.
import {
  capability,
  control,
  isolationBit,
  mqdma,
  queueControl,
  queueControlRows,
} from './datasheet.js';
import type { QueueState } from './queue-state.js';
import type { SharedState } from './shared-state.js';

export interface ControlOptions {
  readonly pageStrideBytes: number;
  readonly pasidBits: number;
  readonly faultInjection: boolean;
}

const injectionOffsets: ReadonlySet<number> = new Set(
  queueControlRows
    .filter((row) => row.name.startsWith('INJECT_'))
    .map((row): number => row.offsetBytes),
);

export class ControlRegisters {
  readonly #shared: SharedState;
  readonly #options: ControlOptions;
  readonly #onEnabled: (queue: QueueState) => void;
  /** 0: alive; 1: dead until reset; 2: dead for good. */
  dead = 0;

  constructor(
    shared: SharedState,
    options: ControlOptions,
    onEnabled: (queue: QueueState) => void,
  ) {
    this.#shared = shared;
    this.#options = options;
    this.#onEnabled = onEnabled;
  }

  read(offsetBytes: number): number {
    const { queueRegistersOffsetBytes: start, queueRegistersStrideBytes: stride } = mqdma;
    if (offsetBytes < start) return this.#readHeader(offsetBytes);
    const queue = this.#shared.queues[Math.floor((offsetBytes - start) / stride)];
    return queue === undefined ? 0 : this.#readQueue(queue, (offsetBytes - start) % stride);
  }

  write(offsetBytes: number, value: number): void {
    const { queueRegistersOffsetBytes: start, queueRegistersStrideBytes: stride } = mqdma;
    if (offsetBytes < start) {
      this.#writeHeader(offsetBytes, value);
      return;
    }
    const queue = this.#shared.queues[Math.floor((offsetBytes - start) / stride)];
    if (queue !== undefined) this.#writeQueue(queue, (offsetBytes - start) % stride, value);
  }

  #faultPendingWord(offsetBytes: number): number {
    const word = (offsetBytes - control.FAULT_PENDING) / 4;
    return word >= 0 && word < mqdma.faultPendingWords ? word : -1;
  }

  #readHeader(offsetBytes: number): number {
    const { queues, errorVector, faultPending } = this.#shared;
    const options = this.#options;
    const word = this.#faultPendingWord(offsetBytes);
    if (word >= 0) return faultPending[word]!;
    switch (offsetBytes) {
      case control.ID:
        return mqdma.id;
      case control.VERSION:
        return mqdma.version;
      case control.QUEUE_COUNT:
        return queues.length;
      case control.PAGE_STRIDE:
        return options.pageStrideBytes;
      case control.CAPABILITIES:
        return (
          capability.BOUNDS |
          (options.pasidBits > 0 ? capability.PASID : 0) |
          (options.faultInjection ? capability.INJECTION : 0)
        );
      case control.PASID_BITS:
        return options.pasidBits;
      case control.RING_ENTRIES_MAX:
        return mqdma.ringEntriesMax;
      case control.TRANSFER_BYTES_MAX:
        return mqdma.transferBytesMax;
      case control.QUEUE_REGISTERS:
        return mqdma.queueRegistersOffsetBytes;
      case control.QUEUE_REGISTERS_STRIDE:
        return mqdma.queueRegistersStrideBytes;
      case control.ERROR_VECTOR:
        return errorVector;
      default:
        return 0;
    }
  }

  #writeHeader(offsetBytes: number, value: number): void {
    const word = this.#faultPendingWord(offsetBytes);
    if (word >= 0) {
      this.#shared.faultPending[word] = this.#shared.faultPending[word]! & ~value;
    } else if (offsetBytes === control.INJECT_DEAD && this.#options.faultInjection) {
      this.dead = Math.min(value, 2);
    }
  }

  #readQueue(queue: QueueState, register: number): number {
    if (injectionOffsets.has(register) && !this.#options.faultInjection) return 0;
    switch (register) {
      case queueControl.ENABLE:
        return queue.enabled ? 1 : 0;
      case queueControl.ISOLATION:
        return queue.isolation;
      case queueControl.PASID:
        return queue.pasidRegister;
      case queueControl.DRAIN:
        return queue.drain ? 1 : 0;
      case queueControl.DMA_BASE_LOW:
        return queue.baseLow;
      case queueControl.DMA_BASE_HIGH:
        return queue.baseHigh;
      case queueControl.DMA_LENGTH_LOW:
        return queue.lengthLow;
      case queueControl.DMA_LENGTH_HIGH:
        return queue.lengthHigh;
      case queueControl.STATUS:
        return queue.statusBits;
      case queueControl.FAULT_COUNT:
        return queue.faultCount;
      case queueControl.FAULT_ACCESS:
        return queue.faultAccess;
      case queueControl.FAULT_REASON:
        return queue.faultReason;
      case queueControl.FAULT_IOVA_LOW:
        return queue.faultLow;
      case queueControl.FAULT_IOVA_HIGH:
        return queue.faultHigh;
      case queueControl.COMPLETED:
        return queue.completed;
      case queueControl.INJECT_NEVER_IDLE:
        return queue.neverIdle ? 1 : 0;
      case queueControl.INJECT_DMA_DELAY_MS:
        return queue.delayMs;
      case queueControl.INJECT_LOST_INTERRUPTS:
        return queue.lostInterrupts;
      default:
        return 0;
    }
  }

  #writeQueue(queue: QueueState, register: number, value: number): void {
    if (injectionOffsets.has(register)) {
      if (this.#options.faultInjection) this.#inject(queue, register, value);
      return;
    }
    switch (register) {
      case queueControl.ENABLE:
        if ((value & 1) === 0) queue.disable();
        else queue.enable();
        this.#onEnabled(queue);
        break;
      case queueControl.DRAIN:
        queue.drain = (value & 1) !== 0;
        break;
      case queueControl.RESET:
        if ((value & 1) !== 0) queue.reset();
        break;
      default:
        // Isolation is what the IOMMU and the bounds rest on: never while DMA may be under way.
        if (!queue.enabled && queue.isIdle) this.#writeIsolation(queue, register, value);
    }
  }

  #writeIsolation(queue: QueueState, register: number, value: number): void {
    switch (register) {
      case queueControl.ISOLATION: {
        const pasid = this.#options.pasidBits > 0 ? isolationBit.PASID : 0;
        queue.isolation = value & (isolationBit.BOUNDS | pasid);
        break;
      }
      case queueControl.PASID:
        queue.pasidRegister = value & (2 ** this.#options.pasidBits - 1);
        break;
      case queueControl.DMA_BASE_LOW:
        queue.baseLow = value;
        break;
      case queueControl.DMA_BASE_HIGH:
        queue.baseHigh = value;
        break;
      case queueControl.DMA_LENGTH_LOW:
        queue.lengthLow = value;
        break;
      case queueControl.DMA_LENGTH_HIGH:
        queue.lengthHigh = value;
        break;
    }
  }

  #inject(queue: QueueState, register: number, value: number): void {
    switch (register) {
      case queueControl.INJECT_NEVER_IDLE:
        queue.neverIdle = (value & 1) !== 0;
        break;
      case queueControl.INJECT_DMA_DELAY_MS:
        queue.delayMs = value;
        break;
      case queueControl.INJECT_LOST_INTERRUPTS:
        queue.lostInterrupts = value;
        break;
    }
  }

  /** Function reset. */
  reset(): void {
    if (this.dead === 1) this.dead = 0;
    this.#shared.faultPending.fill(0);
  }
}
