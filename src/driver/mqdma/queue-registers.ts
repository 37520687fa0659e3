// BAR0 of mqdma as its driver uses it: the header read once and checked, registers by name.
import { LessorError } from '../../base/errors.js';
import {
  capability,
  control,
  mqdma,
  queueControl,
  queueControlOffset,
  queuePageOffset,
} from '../../device/mqdma/datasheet.js';
import { decodeFault, type FaultRecord } from '../../device/mqdma/fault-record.js';
import type { FunctionInfo, Registers } from '../../function/types.js';

/** What the header says. */
export interface Header {
  readonly queueCount: number;
  readonly pageStrideBytes: number;
  readonly hasPasid: boolean;
  readonly hasInjection: boolean;
  readonly errorVector: number;
}

/** Every register of a function that is gone reads so. */
export const allOnes = 0xffffffff;

/**
 * Reads the header and checks it against what the function has.
 *
 * @throws LessorError `DRIVER_FAILED` when it is no mqdma of this version, or contradicts itself.
 */
export async function readHeader(registers: Registers, info: FunctionInfo): Promise<Header> {
  const read = (name: keyof typeof control): Promise<number> => registers.read32(control[name]);
  const check = (holds: boolean, detail: string): void => {
    if (!holds) throw new LessorError('DRIVER_FAILED', `${info.name}: ${detail}`);
  };
  check((await read('ID')) === mqdma.id, 'ID is not that of mqdma');
  const version = await read('VERSION');
  check(version >>> 16 === mqdma.version >>> 16, `version ${version >>> 16} is not known`);
  const queueCount = await read('QUEUE_COUNT');
  const pageStrideBytes = await read('PAGE_STRIDE');
  const capabilities = await read('CAPABILITIES');
  const errorVector = await read('ERROR_VECTOR');
  check(queueCount >= 1 && queueCount <= mqdma.queueCountMax, `${queueCount} queues`);
  const { queueRegistersOffsetBytes, queueRegistersStrideBytes } = mqdma;
  check((await read('QUEUE_REGISTERS')) === queueRegistersOffsetBytes, 'QUEUE_REGISTERS');
  check((await read('QUEUE_REGISTERS_STRIDE')) === queueRegistersStrideBytes, 'register stride');
  const lengthOf = (index: number): number =>
    info.regions.find((region) => region.index === index)?.lengthBytes ?? 0;
  check(queueControlOffset(queueCount) <= lengthOf(mqdma.controlRegion), 'BAR0 is too short');
  const pagesEnd = queuePageOffset(queueCount, pageStrideBytes);
  check(pageStrideBytes >= 4096 && pagesEnd <= lengthOf(mqdma.queueRegion), 'BAR2 is too short');
  check(errorVector >= queueCount && errorVector < info.vectorCount, 'vectors are missing');
  return {
    queueCount,
    pageStrideBytes,
    hasPasid: (capabilities & capability.PASID) !== 0 && info.pasidBits > 0,
    hasInjection: (capabilities & capability.INJECTION) !== 0,
    errorVector,
  };
}

type QueueRegister = keyof typeof queueControl;

/** The control registers of one queue. */
export class QueueRegisters {
  readonly #registers: Registers;
  readonly #offset: number;

  constructor(registers: Registers, queue: number) {
    this.#registers = registers;
    this.#offset = queueControlOffset(queue);
  }

  read(name: QueueRegister): Promise<number> {
    return this.#registers.read32(this.#offset + queueControl[name]);
  }

  write(name: QueueRegister, value: number): Promise<void> {
    return this.#registers.write32(this.#offset + queueControl[name], value);
  }

  /** Writes a pair of registers named `..._LOW` and `..._HIGH` by one access. */
  writeWide(name: 'DMA_BASE' | 'DMA_LENGTH', value: number): Promise<void> {
    return this.#registers.write64(this.#offset + queueControl[`${name}_LOW`], BigInt(value));
  }

  /** Reads such a pair by one access. */
  async readWide(name: 'DMA_BASE' | 'DMA_LENGTH'): Promise<number> {
    return Number(await this.#registers.read64(this.#offset + queueControl[`${name}_LOW`]));
  }

  /** The last fault; undefined when there was none since the last reset. */
  async fault(): Promise<FaultRecord | undefined> {
    const access = await this.read('FAULT_ACCESS');
    const reason = await this.read('FAULT_REASON');
    const low = await this.read('FAULT_IOVA_LOW');
    return decodeFault(access, reason, low, await this.read('FAULT_IOVA_HIGH'));
  }
}
