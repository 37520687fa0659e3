// The registers of EDU by name, and what they say of its state. Four bytes each: the DMA registers
// are eight wide, but four into one clear the rest, and its addresses have 32 bits at most here.
import { LessorError } from '../../base/errors.js';
import { hex } from '../../base/units.js';
import { edu, eduCommand, eduRegister, eduStatus } from '../../device/edu/registers.js';
import type { Registers } from '../../function/types.js';
import type { Look } from '../poll.js';

/** Every register of a function that is gone reads so. */
const allOnes = 0xffffffff;
const identificationMask = 0xff00ffff;
const livenessProbe = 0x5ca1ab1e;
const startBit = Number(eduCommand.START);

export class EduRegisters {
  readonly #registers: Registers;

  /** @param registers - Of the region that holds them. */
  constructor(registers: Registers) {
    this.#registers = registers;
  }

  read(name: keyof typeof eduRegister): Promise<number> {
    return this.#registers.read32(eduRegister[name]);
  }

  write(name: keyof typeof eduRegister, value: number): Promise<void> {
    return this.#registers.write32(eduRegister[name], value);
  }

  /**
   * Asks the device who it is, and whether it hears what it is told.
   *
   * @throws LessorError `DRIVER_FAILED` unless it is an EDU of major version 1 that is alive.
   */
  async identify(): Promise<void> {
    const found = await this.read('IDENTIFICATION');
    if (((found & identificationMask) ^ (edu.identification & identificationMask)) !== 0) {
      throw new LessorError('DRIVER_FAILED', `identification ${hex(found)} is not that of EDU 1`);
    }
    await this.write('LIVENESS', livenessProbe);
    const answer = await this.read('LIVENESS');
    if (answer !== ~livenessProbe >>> 0) {
      throw new LessorError('DRIVER_FAILED', `liveness is ${hex(answer)}: nothing is written`);
    }
  }

  /**
   * Whether a transfer or a factorial is under way. STATUS tells a dead function: a holder cannot
   * make it read all ones, as it can DMA_COMMAND. It is read last, for what died meanwhile.
   */
  async look(): Promise<Look> {
    const command = await this.read('DMA_COMMAND');
    const status = await this.read('STATUS');
    if (status === allOnes) return 'dead';
    const works = (command & startBit) !== 0 || (status & eduStatus.COMPUTING) !== 0;
    return works ? 'working' : 'idle';
  }

  /** As `look`; besides, nothing may be left to interrupt for. Acknowledges what is. */
  async lookQuiet(): Promise<Look> {
    const seen = await this.look();
    if (seen !== 'idle') return seen;
    const pending = await this.read('INTERRUPT_STATUS');
    if (pending === 0) return 'idle';
    await this.write('INTERRUPT_ACKNOWLEDGE', pending);
    return (await this.read('INTERRUPT_STATUS')) === 0 ? 'idle' : 'working';
  }

  /** Puts back what a holder wrote and the device lets go of; the factorial takes `forget`. */
  async clear(): Promise<void> {
    await this.write('STATUS', 0);
    await this.write('LIVENESS', allOnes); // reads inverted: 0
    await this.write('DMA_SOURCE', 0);
    await this.write('DMA_DESTINATION', 0);
    await this.write('DMA_COUNT', 0);
  }

  /** Replaces the last factorial by that of 0. It is computed, which takes a moment. */
  async forget(): Promise<void> {
    await this.write('FACTORIAL', 0);
  }
}
