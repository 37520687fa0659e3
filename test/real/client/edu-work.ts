// What EDU can do: factorials, told by interrupt, and moving 4 KiB into its buffer and out again.
import type { LeaseInterrupt } from '../../../src/client/interrupt.js';
import type { Lease } from '../../../src/client/lease.js';
import type { LeaseMemory } from '../../../src/client/lease-memory.js';
import type { LeaseWindow } from '../../../src/client/window.js';
import { edu, eduInterrupt, eduRegister, eduStatus } from '../../../src/device/edu/registers.js';
import type { Aim } from './calls.js';
import { firstDifference, patterned, type Work, type Workshop } from './work.js';

const command = { start: 1, toMemory: 2, interrupt: 4 } as const;
const patienceMs = 20_000;
const factorialMax = 12;

function factorial(of: number): number {
  let product = 1;
  for (let factor = 2; factor <= of; factor += 1) product = Math.imul(product, factor) >>> 0;
  return product;
}

class EduWork implements Work {
  readonly window = 'registers';
  readonly #registers: LeaseWindow;
  readonly #interrupt: LeaseInterrupt;
  readonly #data: LeaseMemory;

  constructor(lease: Lease, data: LeaseMemory) {
    this.#registers = lease.window(this.window);
    this.#interrupt = lease.interrupt(0);
    this.#data = data;
  }

  async round(round: number): Promise<string> {
    const of = (round % factorialMax) + 1;
    await this.#registers.write32(eduRegister.STATUS, eduStatus.FACTORIAL_INTERRUPT);
    await this.#registers.write32(eduRegister.FACTORIAL, of);
    await this.#interrupted(eduInterrupt.FACTORIAL);
    const product = await this.#registers.read32(eduRegister.FACTORIAL);
    if (product !== factorial(of)) return `${of}! is ${factorial(of)}, not ${product}`;
    const { u8, iova } = this.#data;
    const sent = u8.subarray(0, edu.bufferBytes);
    const received = u8.subarray(edu.bufferBytes, 2 * edu.bufferBytes).fill(0);
    patterned(sent, round);
    await this.#move(iova, edu.bufferAt, 0);
    await this.#move(edu.bufferAt, iova + edu.bufferBytes, command.toMemory);
    const difference = firstDifference(received, sent);
    return difference === undefined ? 'ok' : `DMA ${round}: ${difference}`;
  }

  submit(): Promise<void> {
    const { iova } = this.#data;
    return this.#start(edu.bufferAt, iova + edu.bufferBytes, command.toMemory);
  }

  /** EDU does not know that its DMA was refused: it tells that it is done all the same. */
  async aim({ iova, access }: Aim): Promise<string> {
    if (access === 'read') await this.#move(iova, edu.bufferAt, 0);
    else await this.#move(edu.bufferAt, iova, command.toMemory);
    return 'done';
  }

  async #move(from: number, to: number, direction: number): Promise<void> {
    await this.#start(from, to, direction);
    await this.#interrupted(eduInterrupt.DMA);
  }

  /** Four bytes into a register of eight clear the rest. */
  async #start(from: number, to: number, direction: number): Promise<void> {
    const registers = this.#registers;
    await registers.write32(eduRegister.DMA_SOURCE, from);
    await registers.write32(eduRegister.DMA_DESTINATION, to);
    await registers.write32(eduRegister.DMA_COUNT, edu.bufferBytes);
    const word = command.start | command.interrupt | direction;
    await registers.write32(eduRegister.DMA_COMMAND, word);
  }

  async #interrupted(bit: number): Promise<void> {
    const untilMs = performance.now() + patienceMs;
    while (performance.now() < untilMs) {
      await this.#interrupt.wait(Math.min(1000, untilMs - performance.now()));
      const bits = await this.#registers.read32(eduRegister.INTERRUPT_STATUS);
      if ((bits & bit) === 0) continue;
      await this.#registers.write32(eduRegister.INTERRUPT_ACKNOWLEDGE, bit);
      return;
    }
    throw new Error(`no interrupt ${bit} within ${patienceMs} ms`);
  }
}

export const eduWorkshop: Workshop = {
  kind: 'edu',
  memoryBytes: 65_536,
  dataBytes: 2 * edu.bufferBytes,
  async open(lease: Lease, data: LeaseMemory): Promise<Work> {
    const work = new EduWork(lease, data);
    // Mapped registers are faster than the message that binds it.
    await lease.interrupt(0).bound;
    return work;
  },
};
