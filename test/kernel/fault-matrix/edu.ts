// The DMA of an EDU device, driven by its registers, whoever emulates it.

import type { Clock } from '../../../src/base/clock.js';
import { AssertionFailure } from '../../../src/base/errors.js';
import { edu, eduCommand, eduRegister } from '../../../src/device/edu/registers.js';
import { pause } from '../../../src/function/testing/counter-fixture.js';

/** Exactly one access of four bytes each. */
export interface EduRegisters {
  read32(offsetBytes: number): Promise<number>;
  write32(offsetBytes: number, value: number): Promise<void>;
}

export interface Transfer {
  readonly direction: 'to memory' | 'from memory';
  readonly iova: number;
  /** In the buffer of the device. */
  readonly bufferOffset: number;
  readonly lengthBytes: number;
}

const deadlineMs = 30_000;

export class Edu {
  readonly #registers: EduRegisters;
  readonly #clock: Clock;

  constructor(registers: EduRegisters, clock: Clock) {
    this.#registers = registers;
    this.#clock = clock;
  }

  /** @throws AssertionFailure when it is another device */
  async identify(): Promise<void> {
    const found = await this.#registers.read32(eduRegister.IDENTIFICATION);
    if (found !== edu.identification) {
      throw new AssertionFailure(`0x${found.toString(16)} is no EDU device`);
    }
  }

  /** Resolves when it is over, also when it was refused: the device does not say. */
  async transfer({ direction, iova, bufferOffset, lengthBytes }: Transfer): Promise<void> {
    const isToMemory = direction === 'to memory';
    const local = edu.bufferAt + bufferOffset;
    const { write32 } = this.#registers;
    await write32(eduRegister.DMA_SOURCE, isToMemory ? local : iova);
    await write32(eduRegister.DMA_DESTINATION, isToMemory ? iova : local);
    await write32(eduRegister.DMA_COUNT, lengthBytes);
    const command = eduCommand.START | (isToMemory ? eduCommand.TO_MEMORY : 0n);
    await write32(eduRegister.DMA_COMMAND, Number(command));
    const endMs = this.#clock.nowMs() + deadlineMs;
    while (((await this.#registers.read32(eduRegister.DMA_COMMAND)) & 1) !== 0) {
      if (this.#clock.nowMs() > endMs) throw new AssertionFailure('a transfer without an end');
      await pause(this.#clock, 2);
    }
  }
}
