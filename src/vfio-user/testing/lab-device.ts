// A device for tests of the device server: registers behind callbacks, frames that count, DMA by
// register, interrupts of every kind, and bad manners on request.
import { LessorError } from '../../base/errors.js';
import type {
  Bus,
  BusFault,
  DeviceConfig,
  DeviceMigration,
  DeviceRegion,
  Frame,
  PciDevice,
  StepResult,
  Value,
  Width,
} from '../../device/types.js';
import { Words } from '../../device/words.js';
import { faultReasons } from '../../iommu/types.js';

/** Registers of BAR0, byte offsets. */
export const labRegister = {
  /** Read-only: `labId`. */
  ID: 0x00,
  /** Plain storage for every width: 64 bytes. */
  STORAGE: 0x40,
  /** Fires the vector written. */
  INTERRUPT: 0x80,
  /** Level of the INTx pin. */
  PIN: 0x84,
  STEPS: 0x88,
  RESETS: 0x8c,
  /** A read is answered after as many turns of the event loop as were written. */
  LATER: 0x90,
  /** Wakes itself after as many milliseconds and counts it in WAKES. */
  WAKE_AFTER: 0x94,
  WAKES: 0x98,
  /** Steps that are `more` whatever happens; counted down. */
  BUSY: 0x9c,
  DMA_IOVA: 0xa0,
  DMA_LENGTH: 0xa8,
  /** Any value of `labDma`; the write is answered when the DMA is done. */
  DMA_COMMAND: 0xac,
  /** 0, or 1 + index into `faultReasons`. */
  DMA_RESULT: 0xb0,
  /** Sum of the bytes of the last read; pattern of the next write. */
  DMA_BYTE: 0xb4,
  /** Throws what `labManner` names, in the handler or in the next step. */
  MANNERS: 0xb8,
} as const;

export const labId = 0x4241_4c00;
export const labDma = { read: 1, write: 2, translateRead: 3, translateWrite: 4 } as const;
export const labManner = { refuse: 1, bug: 2, bugInStep: 3, never: 4 } as const;

/** BAR2: page 0 writable by the client, page 2 not; page 1 and 3 are behind callbacks. */
export const labPage = { target: 0x0000, status: 0x2000 } as const;
/** Words of the status page. */
export const labStatusWord = { COUNT: 0, NEED_WAKEUP: 1 } as const;

const pageBytes = 4096;

export interface LabOptions {
  readonly config?: Partial<DeviceConfig>;
  readonly regions?: readonly DeviceRegion[];
}

export class LabDevice implements PciDevice {
  readonly config: DeviceConfig;
  readonly regions: readonly DeviceRegion[];
  /** Every callback, as `read 0 64 4`. */
  readonly calls: string[] = [];
  steps = 0;
  sleeps = 0;
  resets = 0;
  wakes = 0;
  bus: Bus | undefined;
  #target: Frame | undefined;
  #status: Frame | undefined;
  #count = 0;
  #laterTurns = 0;
  #busySteps = 0;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #manners = 0;
  #isStopped = false;
  readonly #storage = new Words(new ArrayBuffer(64));
  #dmaIova = 0n;
  #dmaLength = 0;
  #dmaByte = 0;
  #dmaResult = 0;

  constructor(options: LabOptions = {}) {
    this.config = {
      vendorId: 0x1b36,
      deviceId: 0x1c08,
      subsystemVendorId: 0x1af4,
      subsystemId: 0x1100,
      classCode: 0x120000,
      revisionId: 1,
      vectorCount: 70,
      msix: { region: 4, tableOffset: 0, pbaOffset: 0x1000 },
      msiVectorCount: 4,
      intx: true,
      pasidBits: 0,
      ...options.config,
    };
    this.regions = options.regions ?? [
      { index: 0, lengthBytes: 4096 },
      {
        index: 2,
        lengthBytes: 4 * pageBytes,
        frames: [
          { offsetBytes: labPage.target, lengthBytes: pageBytes, writable: true },
          { offsetBytes: labPage.status, lengthBytes: pageBytes, writable: false },
        ],
      },
      { index: 4, lengthBytes: 0x2000 },
    ];
  }

  readonly migration: DeviceMigration = {
    stop: () => {
      this.#isStopped = true;
    },
    start: () => {
      this.#isStopped = false;
    },
    save: () => this.#storage.u8.slice(),
    load: (state) => {
      if (state.length !== 64) throw new LessorError('INVALID_ARGUMENT', 'no state of a lab');
      this.#storage.u8.set(state);
    },
  };

  get isStopped(): boolean {
    return this.#isStopped;
  }

  attach(bus: Bus): void {
    this.bus = bus;
    if (!this.regions.some((region) => region.index === 2 && region.frames)) return;
    this.#target = bus.frame(2, labPage.target);
    this.#status = bus.frame(2, labPage.status);
  }

  read(region: number, offsetBytes: number, width: Width): Value | Promise<Value> {
    this.calls.push(`read ${region} ${offsetBytes} ${width}`);
    const register = labRegister;
    if (region !== 0) return width === 8 ? BigInt(offsetBytes) : offsetBytes & 0xff;
    if (offsetBytes >= register.STORAGE && offsetBytes < register.INTERRUPT) {
      return this.#storage.load(offsetBytes - register.STORAGE, width);
    }
    switch (offsetBytes) {
      case register.ID:
        return labId;
      case register.STEPS:
        return this.steps;
      case register.RESETS:
        return this.resets;
      case register.WAKES:
        return this.wakes;
      case register.LATER:
        return this.#later();
      case register.DMA_RESULT:
        return this.#dmaResult;
      case register.DMA_BYTE:
        return this.#dmaByte;
      default:
        return width === 8 ? 0n : 0;
    }
  }

  write(region: number, offsetBytes: number, width: Width, value: Value): void | Promise<void> {
    this.calls.push(`write ${region} ${offsetBytes} ${width} ${value}`);
    const register = labRegister;
    if (region !== 0) return undefined;
    if (offsetBytes >= register.STORAGE && offsetBytes < register.INTERRUPT) {
      this.#storage.store(offsetBytes - register.STORAGE, width, value);
      return undefined;
    }
    switch (offsetBytes) {
      case register.INTERRUPT:
        this.bus!.interrupt(Number(value));
        break;
      case register.PIN:
        this.bus!.setIntx!(Number(value) !== 0);
        break;
      case register.LATER:
        this.#laterTurns = Number(value);
        break;
      case register.BUSY:
        this.#busySteps = Number(value);
        break;
      case register.WAKE_AFTER:
        this.#wakeAtMs = this.bus!.nowMs() + Number(value);
        this.bus!.wakeAfter(Number(value));
        break;
      case register.DMA_IOVA:
        this.#dmaIova = BigInt(value);
        break;
      case register.DMA_LENGTH:
        this.#dmaLength = Number(value);
        break;
      case register.DMA_BYTE:
        this.#dmaByte = Number(value);
        break;
      case register.DMA_COMMAND:
        return this.#dma(Number(value));
      case register.MANNERS:
        return this.#behave(Number(value));
    }
    return undefined;
  }

  step(): StepResult {
    this.steps++;
    if (this.#manners === labManner.bugInStep) throw new TypeError('a bug of the device');
    if (this.bus!.nowMs() >= this.#wakeAtMs) {
      this.#wakeAtMs = Number.POSITIVE_INFINITY;
      this.wakes++;
    }
    if (this.#busySteps > 0) {
      this.#busySteps--;
      return 'more';
    }
    const target = this.#targetNow();
    if (target === this.#count) return this.#wakeAtMs < Infinity ? 'waiting' : 'idle';
    this.#count = target < this.#count ? target : this.#count + 1;
    this.#publish(labStatusWord.COUNT, this.#count);
    return 'more';
  }

  prepareSleep(): boolean {
    this.#publish(labStatusWord.NEED_WAKEUP, 1);
    if (this.#targetNow() !== this.#count) return false;
    this.sleeps++;
    return true;
  }

  awake(): void {
    this.#publish(labStatusWord.NEED_WAKEUP, 0);
  }

  reset(): void {
    this.resets++;
    this.#count = 0;
    this.#busySteps = 0;
    if (this.#target) this.#target.u32[this.#target.base] = 0;
    this.#publish(labStatusWord.COUNT, 0);
  }

  #targetNow(): number {
    return this.#target ? Atomics.load(this.#target.u32, this.#target.base) : this.#count;
  }

  #publish(word: number, value: number): void {
    if (this.#status) Atomics.store(this.#status.u32, this.#status.base + word, value);
  }

  #behave(manner: number): void | Promise<void> {
    this.#manners = manner;
    if (manner === labManner.refuse) throw new LessorError('QUOTA_EXCEEDED', 'as asked');
    if (manner === labManner.bug) throw new TypeError('a bug of the device');
    if (manner === labManner.never) return new Promise(() => {});
    return undefined;
  }

  async #later(): Promise<Value> {
    for (let turn = 0; turn < this.#laterTurns; turn++) await new Promise(setImmediate);
    return this.#laterTurns;
  }

  #dma(command: number): void | Promise<void> {
    if (command === labDma.translateRead || command === labDma.translateWrite) {
      const access = command === labDma.translateRead ? 'read' : 'write';
      const place = this.bus!.direct!.translate(undefined, Number(this.#dmaIova), access);
      this.#dmaResult = place < 0 ? -place : 0;
      return undefined;
    }
    const bytes = new Uint8Array(this.#dmaLength);
    const isWrite = command === labDma.write;
    if (isWrite) bytes.fill(this.#dmaByte);
    const iova = Number(this.#dmaIova);
    const fault = isWrite
      ? this.bus!.write(undefined, iova, bytes)
      : this.bus!.read(undefined, iova, bytes);
    const finish = (settled: BusFault | undefined): void => {
      this.#dmaResult = settled === undefined ? 0 : 1 + faultReasons.indexOf(settled.reason);
      if (!isWrite) this.#dmaByte = bytes.reduce((sum, byte) => sum + byte, 0);
    };
    return fault instanceof Promise ? fault.then(finish) : finish(fault);
  }
}
