// The DMA engine of the EDU device: four registers, a buffer on board, one transfer at a time.
// Starts transfers from the device's step alone; a transfer by message finishes on its own.
import { isLessorError, isOsError } from '../../base/errors.js';
import { hex } from '../../base/units.js';
import type { Bus, BusFault, StepResult } from '../types.js';
import { edu, eduCommand, eduRegister } from './registers.js';

const { START, TO_MEMORY, INTERRUPT } = eduCommand;

export interface DmaEngineOptions {
  /** Ones in the bits of an IOVA that reach the bus. */
  readonly mask: bigint;
  readonly delayMs: number;
  /** A transfer is over and asked for an interrupt. */
  readonly onInterrupt: () => void;
  /** A transfer moved nothing, or not all. */
  readonly onRefused: (detail: string) => void;
}

/** A transfer as the registers had it when it began. */
interface Transfer {
  readonly toMemory: boolean;
  readonly bufferOffset: number;
  readonly iova: number;
  /** What goes to memory, or room for what comes from there. */
  readonly bytes: Uint8Array;
}

export interface DmaRegisters {
  readonly source: bigint;
  readonly destination: bigint;
  readonly count: bigint;
  readonly command: bigint;
}

const cleared: DmaRegisters = { source: 0n, destination: 0n, count: 0n, command: 0n };

export class DmaEngine {
  readonly buffer = new Uint8Array(edu.bufferBytes);
  readonly #bus: Bus;
  readonly #options: DmaEngineOptions;
  #registers = cleared;
  #dueMs = 0;
  #isUnderWay = false;
  /** +1 whenever a transfer by message becomes void. */
  #life = 0;

  constructor(bus: Bus, options: DmaEngineOptions) {
    this.#bus = bus;
    this.#options = options;
  }

  get registers(): DmaRegisters {
    return this.#registers;
  }

  get isRunning(): boolean {
    return (this.#registers.command & START) !== 0n;
  }

  /** A register of this engine; undefined: none is there. */
  read(offsetBytes: number): bigint | undefined {
    const { source, destination, count, command } = this.#registers;
    switch (offsetBytes) {
      case eduRegister.DMA_SOURCE:
        return source;
      case eduRegister.DMA_DESTINATION:
        return destination;
      case eduRegister.DMA_COUNT:
        return count;
      case eduRegister.DMA_COMMAND:
        return command;
      default:
        return undefined;
    }
  }

  /** Dropped during a transfer. A command that does not start one is dropped as well. */
  write(offsetBytes: number, value: bigint): void {
    if (this.isRunning) return;
    const registers = this.#registers;
    switch (offsetBytes) {
      case eduRegister.DMA_SOURCE:
        this.#registers = { ...registers, source: value };
        break;
      case eduRegister.DMA_DESTINATION:
        this.#registers = { ...registers, destination: value };
        break;
      case eduRegister.DMA_COUNT:
        this.#registers = { ...registers, count: value };
        break;
      case eduRegister.DMA_COMMAND:
        if ((value & START) === 0n) return;
        this.#registers = { ...registers, command: value };
        this.resume();
        break;
    }
  }

  step(): StepResult {
    if (!this.isRunning || this.#isUnderWay) return 'idle';
    const leftMs = this.#dueMs - this.#bus.nowMs();
    if (leftMs > 0) {
      this.#bus.wakeAfter(leftMs);
      return 'waiting';
    }
    const transfer = this.#transfer();
    if (transfer === undefined) this.#finish();
    else this.#begin(transfer);
    return 'idle';
  }

  /** Gives up a transfer by message; `resume` does it again. Both directions bear that. */
  suspend(): void {
    this.#life++;
    this.#isUnderWay = false;
  }

  /** Starts the delay of the transfer that the registers ask for. */
  resume(): void {
    if (!this.isRunning) return;
    this.#dueMs = this.#bus.nowMs() + this.#options.delayMs;
    this.#bus.wakeAfter(this.#options.delayMs);
  }

  reset(): void {
    this.suspend();
    this.#registers = cleared;
    this.buffer.fill(0);
  }

  /** Takes over saved registers; `resume` goes on with their transfer. */
  restore(registers: DmaRegisters, buffer: Uint8Array): void {
    this.suspend();
    this.#registers = registers;
    this.buffer.set(buffer);
  }

  /** What to move; undefined: nothing, or a range that leaves the buffer. */
  #transfer(): Transfer | undefined {
    const { source, destination, count, command } = this.#registers;
    const toMemory = (command & TO_MEMORY) !== 0n;
    const local = toMemory ? source : destination;
    const start = BigInt(edu.bufferAt);
    const end = start + BigInt(edu.bufferBytes);
    if (local < start || local + count > end) {
      this.#options.onRefused(`${count} bytes at ${hex(local)} are not in the buffer`);
      return undefined;
    }
    if (count === 0n) return undefined;
    const bufferOffset = Number(local - start);
    const remote = toMemory ? destination : source;
    const iova = Number(remote & this.#options.mask);
    if (BigInt(iova) !== remote) this.#options.onRefused(`${hex(remote)} is cut to ${hex(iova)}`);
    // A private copy: the registers of the next transfer must not reach into this one.
    const bytes = this.buffer.slice(bufferOffset, bufferOffset + Number(count));
    return { toMemory, bufferOffset, iova, bytes };
  }

  #begin(transfer: Transfer): void {
    const { toMemory, iova, bytes } = transfer;
    const result = toMemory
      ? this.#bus.write(undefined, iova, bytes)
      : this.#bus.read(undefined, iova, bytes);
    if (result instanceof Promise) {
      this.#isUnderWay = true;
      void this.#wait(transfer, result, this.#life);
    } else {
      this.#land(transfer, result?.reason);
    }
  }

  async #wait(
    transfer: Transfer,
    pending: Promise<BusFault | undefined>,
    life: number,
  ): Promise<void> {
    let refusal: string | undefined;
    try {
      refusal = (await pending)?.reason;
    } catch (error) {
      if (!isLessorError(error) && !isOsError(error)) throw error;
      refusal = error.message;
    }
    if (life === this.#life) this.#land(transfer, refusal);
  }

  #land(transfer: Transfer, refusal: string | undefined): void {
    const { toMemory, bufferOffset, iova, bytes } = transfer;
    this.#isUnderWay = false;
    if (refusal !== undefined) {
      const access = toMemory ? 'write' : 'read';
      this.#options.onRefused(`${access} of ${bytes.length} bytes at ${hex(iova)}: ${refusal}`);
    } else if (!toMemory) {
      this.buffer.set(bytes, bufferOffset);
    }
    this.#finish();
  }

  #finish(): void {
    const { command } = this.#registers;
    this.#registers = { ...this.#registers, command: command & ~START };
    if ((command & INTERRUPT) !== 0n) this.#options.onInterrupt();
  }
}
