// A small device for tests: registers of every width, frames that count, DMA and interrupts on
// command, and bad manners on request.
import { LessorError } from '../../base/errors.js';
import type {
  Bus,
  DeviceConfig,
  DeviceRegion,
  Frame,
  PciDevice,
  StepResult,
  Value,
  Width,
} from '../../device/types.js';
import { Words } from '../../device/words.js';
import { faultReasons } from '../../iommu/types.js';

/** Registers of region 0, byte offsets. */
export const counterRegister = {
  /** Read-only: `counterId`. */
  ID: 0x00,
  /** Plain storage for every width: 64 bytes. */
  STORAGE: 0x40,
  /** Any write: as many interrupts of the vector written. */
  INTERRUPT: 0x80,
  /** A value of `counterManner`. */
  MANNERS: 0x84,
  /** Steps since the last reset, wraps. */
  STEPS: 0x88,
  /** Resets so far. */
  RESETS: 0x8c,
  /** A read is answered after as many turns of the event loop as were written. */
  LATER: 0x90,
  DMA_IOVA_LOW: 0xa0,
  DMA_IOVA_HIGH: 0xa4,
  DMA_LENGTH: 0xa8,
  /** 0xffffffff: none. */
  DMA_PASID: 0xac,
  /** A value of `counterDma`; reads 0, or 1 + index into `faultReasons`. */
  DMA_COMMAND: 0xb0,
  /** Sum of the bytes of the last read; pattern of the next write. */
  DMA_BYTE: 0xb4,
  /** Wakes itself after as many milliseconds and counts it in WAKES. */
  WAKE_AFTER: 0xb8,
  WAKES: 0xbc,
} as const;

export const counterId = 0x52544e43;
export const counterManner = { good: 0, hang: 1, throw: 2, exit: 3 } as const;
export const counterDma = { read: 1, write: 2 } as const;

/** Words of a writable frame of region 2. */
export const counterWord = { TARGET: 0 } as const;
/** Words of the read-only frame after it. */
export const counterStatusWord = { COUNT: 0, NEED_WAKEUP: 1, TARGET_SEEN: 2 } as const;

export interface CounterOptions {
  /** Pairs of a writable and a read-only page in region 2. */
  readonly frameCount: number;
  readonly pageBytes: number;
  /** Fails in the constructor. */
  readonly broken?: boolean;
}

interface Counter {
  readonly page: Frame;
  readonly status: Frame;
  count: number;
}

export class CounterDevice implements PciDevice {
  readonly config: DeviceConfig;
  readonly regions: readonly DeviceRegion[];
  readonly #options: CounterOptions;
  readonly #storage = new Words(new ArrayBuffer(64));
  readonly #dma = new Uint32Array(6);
  #bus: Bus | undefined;
  #counters: Counter[] = [];
  #manners = 0;
  #steps = 0;
  #resets = 0;
  #laterTurns = 0;
  #wakes = 0;
  #wakeAtMs = Number.POSITIVE_INFINITY;

  constructor(options: CounterOptions) {
    if (options.broken) throw new LessorError('INVALID_ARGUMENT', 'the device was asked to fail');
    this.#options = options;
    const { pageBytes, frameCount } = options;
    this.config = {
      vendorId: 0x1b36,
      deviceId: 0x1c07,
      subsystemVendorId: 0,
      subsystemId: 0,
      classCode: 0x120000,
      revisionId: 1,
      vectorCount: 4,
      msix: { region: 4, tableOffset: 0, pbaOffset: 0x800 },
      pasidBits: 8,
    };
    const frames = Array.from({ length: 2 * frameCount }, (_, index) => ({
      offsetBytes: index * pageBytes,
      lengthBytes: pageBytes,
      writable: index % 2 === 0,
    }));
    this.regions = [
      { index: 0, lengthBytes: 4096 },
      { index: 2, lengthBytes: 2 * frameCount * pageBytes, frames },
      { index: 4, lengthBytes: 4096 },
    ];
  }

  attach(bus: Bus): void {
    this.#bus = bus;
    const { pageBytes, frameCount } = this.#options;
    for (let index = 0; index < frameCount; index += 1) {
      const at = 2 * index * pageBytes;
      this.#counters.push({
        page: bus.frame(2, at),
        status: bus.frame(2, at + pageBytes),
        count: 0,
      });
    }
  }

  read(region: number, offsetBytes: number, width: Width): Value | Promise<Value> {
    const register = counterRegister;
    if (region !== 0) return width === 8 ? 0n : 0;
    if (offsetBytes >= register.STORAGE && offsetBytes < register.INTERRUPT) {
      return this.#storage.load(offsetBytes - register.STORAGE, width);
    }
    if (offsetBytes === register.ID) return counterId;
    if (offsetBytes === register.STEPS) return this.#steps;
    if (offsetBytes === register.RESETS) return this.#resets;
    if (offsetBytes === register.WAKES) return this.#wakes;
    if (offsetBytes === register.LATER) return this.#later(this.#laterTurns);
    if (offsetBytes >= register.DMA_IOVA_LOW && offsetBytes <= register.DMA_BYTE) {
      return this.#dma[(offsetBytes - register.DMA_IOVA_LOW) / 4]!;
    }
    return width === 8 ? 0n : 0;
  }

  write(region: number, offsetBytes: number, width: Width, value: Value): void {
    const register = counterRegister;
    if (region !== 0) return;
    if (offsetBytes >= register.STORAGE && offsetBytes < register.INTERRUPT) {
      this.#storage.store(offsetBytes - register.STORAGE, width, value);
    } else if (offsetBytes === register.INTERRUPT) this.#bus!.interrupt(Number(value));
    else if (offsetBytes === register.MANNERS) this.#manners = Number(value);
    else if (offsetBytes === register.LATER) this.#laterTurns = Number(value);
    else if (offsetBytes === register.WAKE_AFTER) {
      this.#wakeAtMs = this.#bus!.nowMs() + Number(value);
      this.#bus!.wakeAfter(Number(value));
    } else if (offsetBytes === register.DMA_COMMAND) this.#runDma(Number(value));
    else if (offsetBytes >= register.DMA_IOVA_LOW && offsetBytes <= register.DMA_BYTE) {
      this.#dma[(offsetBytes - register.DMA_IOVA_LOW) / 4] = Number(value);
    }
  }

  step(): StepResult {
    this.#steps = (this.#steps + 1) >>> 0;
    this.#misbehave();
    if (this.#bus!.nowMs() >= this.#wakeAtMs) {
      this.#wakeAtMs = Number.POSITIVE_INFINITY;
      this.#wakes += 1;
    }
    let result: StepResult = 'idle';
    for (const counter of this.#counters) if (this.#count(counter)) result = 'more';
    return result;
  }

  prepareSleep(): boolean {
    this.#publishNeed(1);
    return !this.#counters.some((counter) => this.#hasWork(counter, this.#target(counter)));
  }

  awake(): void {
    this.#publishNeed(0);
  }

  reset(): void {
    this.#resets += 1;
    this.#steps = 0;
    for (const counter of this.#counters) counter.count = 0;
  }

  #publishNeed(value: number): void {
    for (const { status } of this.#counters) {
      Atomics.store(status.u32, status.base + counterStatusWord.NEED_WAKEUP, value);
    }
  }

  #target({ page }: Counter): number {
    return Atomics.load(page.u32, page.base + counterWord.TARGET);
  }

  /** A truncated window reads all ones: no work. */
  #hasWork(counter: Counter, target: number): boolean {
    return counter.count !== target && target !== 0xffff_ffff;
  }

  /** One up towards the target; a target behind starts again from it. */
  #count(counter: Counter): boolean {
    const target = this.#target(counter);
    const { status } = counter;
    if (!this.#hasWork(counter, target)) return false;
    counter.count = target < counter.count ? target : counter.count + 1;
    status.u32[status.base + counterStatusWord.TARGET_SEEN] = target;
    Atomics.store(status.u32, status.base + counterStatusWord.COUNT, counter.count);
    return true;
  }

  #misbehave(): void {
    if (this.#manners === counterManner.throw) {
      throw new LessorError('DEVICE_FAULT', 'the device was asked to throw');
    }
    if (this.#manners === counterManner.exit) process.exit(7);
    while (this.#manners === counterManner.hang) this.#steps += 1;
  }

  async #later(turns: number): Promise<Value> {
    for (let turn = 0; turn < turns; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    return turns;
  }

  #runDma(command: number): void {
    const [low, high, length, pasid, , pattern] = this.#dma;
    const iova = high! * 2 ** 32 + low!;
    const requester = pasid === 0xffff_ffff ? undefined : pasid;
    const bytes = new Uint8Array(length!);
    let fault: ReturnType<Bus['read']>;
    if (command === counterDma.write) {
      fault = this.#bus!.write(requester, iova, bytes.fill(pattern!));
    } else {
      fault = this.#bus!.read(requester, iova, bytes);
      this.#dma[5] = bytes.reduce((sum, byte) => sum + byte, 0);
    }
    if (fault instanceof Promise) throw new LessorError('UNSUPPORTED', 'DMA by message');
    this.#dma[4] = fault === undefined ? 0 : 1 + faultReasons.indexOf(fault.reason);
  }
}

/** What the emulated function's worker calls. */
export function createCounter(options: CounterOptions): PciDevice {
  return new CounterDevice(options);
}
