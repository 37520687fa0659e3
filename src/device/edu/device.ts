// A device that drivers written for QEMU's EDU take for it: identification, liveness, a factorial
// that takes its time, interrupts, DMA to and from a buffer on board.
import { LessorError } from '../../base/errors.js';
import { type Logger, silentLogger } from '../../base/log.js';
import { toCount } from '../../base/units.js';
import { allOnes } from '../register-value.js';
import type {
  Bus,
  DeviceConfig,
  DeviceMigration,
  DeviceRegion,
  PciDevice,
  StepResult,
  Value,
  Width,
} from '../types.js';
import { DmaEngine } from './dma-engine.js';
import { factorialModulo32 } from './factorial.js';
import { edu, eduInterrupt, eduRegister, eduStatus } from './registers.js';
import { decodeEdu, encodeEdu } from './saved-edu.js';

const { COMPUTING, FACTORIAL_INTERRUPT } = eduStatus;

export interface EduOptions {
  /** Bits of an address that its DMA can reach, 12 to 48; default 28, as in QEMU. */
  readonly dmaBits?: number;
  /** From a DMA command to its transfer, 0 to 60,000; default 100, as in QEMU. */
  readonly dmaDelayMs?: number;
  /** Hears at debug level of what a driver asked for and did not get. */
  readonly log?: Logger;
}

const dmaBitsMin = 12;
const dmaBitsMax = 48;
const dmaDelayMsMax = 60_000;

/** @see QEMU docs/specs/edu.rst */
export class EduDevice implements PciDevice {
  readonly config: DeviceConfig = {
    vendorId: edu.vendorId,
    deviceId: edu.deviceId,
    subsystemVendorId: edu.subsystemVendorId,
    subsystemId: edu.subsystemId,
    classCode: edu.classCode,
    revisionId: edu.revisionId,
    vectorCount: 1,
    msiVectorCount: 1,
    intx: true,
    pasidBits: 0,
  };
  readonly regions: readonly DeviceRegion[] = [
    { index: edu.registerRegion, lengthBytes: edu.registerBytes },
  ];
  readonly migration = {
    stop: () => this.#stop(),
    start: () => this.#start(),
    save: () => this.#save(),
    load: (state: Uint8Array) => this.#load(state),
  } satisfies DeviceMigration;
  readonly #dmaMask: bigint;
  readonly #dmaDelayMs: number;
  readonly #log: Logger;
  #bus: Bus | undefined;
  #dma: DmaEngine | undefined;
  #isStopped = false;
  #liveness = 0;
  /** While COMPUTING the operand, then the result. */
  #factorial = 0;
  #status = 0;
  #interruptStatus = 0;

  /** @throws LessorError `INVALID_ARGUMENT` */
  constructor(options: EduOptions = {}) {
    const { dmaBits = edu.dmaBitsDefault, dmaDelayMs = edu.dmaDelayMsDefault } = options;
    if (toCount(dmaBits, 'dmaBits', dmaBitsMax) < dmaBitsMin) {
      throw new LessorError('INVALID_ARGUMENT', `dmaBits ${dmaBits} is below ${dmaBitsMin}`);
    }
    this.#dmaMask = (1n << BigInt(dmaBits)) - 1n;
    this.#dmaDelayMs = toCount(dmaDelayMs, 'dmaDelayMs', dmaDelayMsMax);
    this.#log = options.log ?? silentLogger;
  }

  attach(bus: Bus): void {
    this.#bus = bus;
    this.#dma = new DmaEngine(bus, {
      mask: this.#dmaMask,
      delayMs: this.#dmaDelayMs,
      onInterrupt: () => this.#raise(eduInterrupt.DMA),
      onRefused: (detail) => this.#log.debug(`edu: ${detail}`),
    });
  }

  read(_region: number, offsetBytes: number, width: Width): Value {
    if (!isServed(offsetBytes, width)) return allOnes(width);
    const value = this.#readRegister(offsetBytes);
    if (value === undefined) return allOnes(width);
    if (width === 8) return BigInt(value);
    return typeof value === 'bigint' ? Number(value & 0xffff_ffffn) : value;
  }

  #readRegister(offsetBytes: number): Value | undefined {
    switch (offsetBytes) {
      case eduRegister.IDENTIFICATION:
        return edu.identification;
      case eduRegister.LIVENESS:
        return this.#liveness;
      case eduRegister.FACTORIAL:
        return this.#factorial;
      case eduRegister.STATUS:
        return this.#status;
      case eduRegister.INTERRUPT_STATUS:
        return this.#interruptStatus;
      default:
        return this.#dma!.read(offsetBytes);
    }
  }

  /** Four bytes into a register of eight clear its upper half, as in QEMU. */
  write(_region: number, offsetBytes: number, width: Width, value: Value): void {
    if (!isServed(offsetBytes, width)) return;
    if (offsetBytes >= edu.wideRegistersAt) {
      this.#dma!.write(offsetBytes, BigInt.asUintN(8 * width, BigInt(value)));
    } else {
      this.#writeWord(offsetBytes, Number(value) >>> 0);
    }
  }

  #writeWord(offsetBytes: number, value: number): void {
    switch (offsetBytes) {
      case eduRegister.LIVENESS:
        this.#liveness = ~value >>> 0;
        break;
      case eduRegister.FACTORIAL:
        if ((this.#status & COMPUTING) !== 0) return;
        this.#factorial = value;
        this.#status |= COMPUTING;
        this.#bus!.wakeAfter(0);
        break;
      case eduRegister.STATUS:
        this.#status = (this.#status & COMPUTING) | (value & FACTORIAL_INTERRUPT);
        break;
      case eduRegister.INTERRUPT_RAISE:
        this.#raise(value);
        break;
      case eduRegister.INTERRUPT_ACKNOWLEDGE:
        this.#interruptStatus = (this.#interruptStatus & ~value) >>> 0;
        this.#driveIntx();
        break;
    }
  }

  step(): StepResult {
    if (this.#isStopped) return 'idle';
    if ((this.#status & COMPUTING) !== 0) {
      this.#factorial = factorialModulo32(this.#factorial);
      this.#status &= ~COMPUTING;
      if ((this.#status & FACTORIAL_INTERRUPT) !== 0) this.#raise(eduInterrupt.FACTORIAL);
    }
    return this.#dma!.step();
  }

  reset(): void {
    this.#liveness = 0;
    this.#factorial = 0;
    this.#status = 0;
    this.#interruptStatus = 0;
    this.#dma!.reset();
    this.#driveIntx();
  }

  #raise(bits: number): void {
    this.#interruptStatus = (this.#interruptStatus | bits) >>> 0;
    this.#signal();
  }

  /** Whichever kind of interrupt the driver chose is heard; the bus drops the other. */
  #signal(): void {
    if (this.#isStopped || this.#interruptStatus === 0) return;
    this.#bus!.interrupt(0);
    this.#driveIntx();
  }

  #driveIntx(): void {
    if (!this.#isStopped) this.#bus!.setIntx?.(this.#interruptStatus !== 0);
  }

  #stop(): void {
    this.#isStopped = true;
    this.#dma!.suspend();
  }

  #start(): void {
    this.#isStopped = false;
    this.#dma!.resume();
    this.#driveIntx();
    // One too many does no harm, one that was lost on the way would.
    this.#signal();
    this.#bus!.wakeAfter(0);
  }

  #save(): Uint8Array {
    const dma = this.#dma!;
    return encodeEdu({
      liveness: this.#liveness,
      factorial: this.#factorial,
      status: this.#status,
      interruptStatus: this.#interruptStatus,
      ...dma.registers,
      buffer: dma.buffer,
    });
  }

  #load(state: Uint8Array): void {
    const { liveness, factorial, status, interruptStatus, buffer, ...dma } = decodeEdu(state);
    this.#liveness = liveness;
    this.#factorial = factorial;
    this.#status = status;
    this.#interruptStatus = interruptStatus;
    this.#dma!.restore(dma, buffer);
  }
}

/** Only whole registers: 4 bytes below 0x80, 4 or 8 from there on. */
function isServed(offsetBytes: number, width: Width): boolean {
  return width === 4 || (width === 8 && offsetBytes >= edu.wideRegistersAt);
}

/** For hosts that name a device by its module and a function of it. */
export function createEdu(options: EduOptions = {}): EduDevice {
  return new EduDevice(options);
}
