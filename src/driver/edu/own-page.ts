// One page of the device's reach that no lease gets: through it the driver empties the buffer on
// board, which nothing but DMA writes, and sees that the last address of its reach is real.
import { LessorError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { hex, toIova } from '../../base/units.js';
import { edu, eduCommand } from '../../device/edu/registers.js';
import type { PciFunction } from '../../function/types.js';
import { pollIdle, within } from '../poll.js';
import type { DriverHost } from '../types.js';
import type { EduRegisters } from './edu-registers.js';

/** QEMU's EDU takes 100 ms for one. Two of them fit in the broker's deadline for a grant. */
const transferMsMax = 800;

export class OwnPage {
  readonly iova: number;
  readonly #fn: PciFunction;
  readonly #host: DriverHost;
  readonly #registers: EduRegisters;
  readonly #lengthBytes: number;

  /** @param end - One past the last address that the device can send. */
  constructor(fn: PciFunction, host: DriverHost, registers: EduRegisters, end: number) {
    this.#fn = fn;
    this.#host = host;
    this.#registers = registers;
    this.#lengthBytes = Math.max(fn.info.iovaPageBytes, edu.bufferBytes);
    this.iova = end - this.#lengthBytes;
  }

  /**
   * Fills the buffer on board and reads it back. The page is mapped for this long only: a lease
   * that had the function meanwhile could aim its DMA here.
   *
   * @throws LessorError `DRIVER_FAILED` when a transfer does not end, or moves nothing.
   */
  async fillBuffer(pattern: number): Promise<void> {
    using scratch = this.#host.scratchMemory(this.#lengthBytes);
    await using space = await this.#fn.dma.open({ pasid: undefined });
    const account = {
      placedBytesMax: limits.placedBytesPerLeaseMax,
      tablePagesMax: limits.tablePagesPerLeaseMax,
      placedBytes: 0,
      tablePages: 0,
    };
    const { iova } = this;
    await space.map(scratch.memory, toIova(iova), scratch.lengthBytes, 'read-write', account);
    const words = scratch.u32.subarray(0, edu.bufferBytes / 4);
    words.fill(pattern);
    await this.#transfer(iova, edu.bufferAt, eduCommand.START);
    words.fill(~pattern);
    await this.#transfer(edu.bufferAt, iova, eduCommand.START | eduCommand.TO_MEMORY);
    if (words.every((word) => word === pattern >>> 0)) return;
    const detail = `DMA of a page at ${hex(iova)} and back does not arrive: see dmaBits`;
    throw new LessorError('DRIVER_FAILED', detail);
  }

  async #transfer(source: number, destination: number, command: bigint): Promise<void> {
    const { clock } = this.#host;
    await this.#registers.write('DMA_SOURCE', source);
    await this.#registers.write('DMA_DESTINATION', destination);
    await this.#registers.write('DMA_COUNT', edu.bufferBytes);
    await this.#registers.write('DMA_COMMAND', Number(command));
    const end = await within(clock, transferMsMax, (signal) =>
      pollIdle(() => this.#registers.look(), clock, signal),
    );
    if (end === 'idle') return;
    const detail = `a transfer at ${hex(this.iova)} did not end within ${transferMsMax} ms`;
    throw new LessorError('DRIVER_FAILED', detail);
  }
}
