// A counter that interrupts when it reaches a value: the smallest device that has registers, a
// mapped page, interrupts, time and migration. Read it to learn how one is written.

import { flags32, struct, u32 } from '../../uapi/struct.js';
import { allOnes } from '../register-value.js';
import { loadState } from '../saved-state.js';
import type {
  Bus,
  DeviceConfig,
  DeviceMigration,
  DeviceRegion,
  Frame,
  PciDevice,
  StepResult,
  Value,
  Width,
} from '../types.js';
import {
  counter,
  counterControl,
  counterPageWord,
  counterRegister,
  counterStatus,
} from './registers.js';

const { RUN, INTERRUPT } = counterControl;
const { REACHED } = counterStatus;
const header = { magic: counter.id, version: 1 };
const savedCounter = struct('counter_state', 24, {
  magic: u32,
  version: u32,
  count: u32,
  compare: u32,
  control: flags32(RUN | INTERRUPT),
  status: flags32(REACHED),
});

export class CounterDevice implements PciDevice {
  readonly config: DeviceConfig = {
    vendorId: counter.vendorId,
    deviceId: counter.deviceId,
    subsystemVendorId: counter.vendorId,
    subsystemId: counter.deviceId,
    classCode: counter.classCode,
    revisionId: counter.revisionId,
    vectorCount: 1,
    msix: { region: counter.msixRegion, tableOffset: 0, pbaOffset: counter.pbaOffset },
    intx: true,
    pasidBits: 0,
  };
  readonly regions: readonly DeviceRegion[] = [
    { index: counter.registerRegion, lengthBytes: counter.regionBytes },
    {
      index: counter.pageRegion,
      lengthBytes: counter.regionBytes,
      // Writable for clients only because a guest that writes where it may not can take its VM
      // monitor down. The device shows there and never looks.
      frames: [{ offsetBytes: 0, lengthBytes: counter.regionBytes, writable: true }],
    },
    { index: counter.msixRegion, lengthBytes: counter.regionBytes },
  ];
  readonly migration = {
    stop: () => this.#stop(),
    start: () => this.#start(),
    save: () => this.#save(),
    load: (state: Uint8Array) => this.#load(state),
  } satisfies DeviceMigration;
  #bus: Bus | undefined;
  #page: Frame | undefined;
  #isStopped = false;
  #count = 0;
  /** Up to when `#count` has followed the clock. */
  #countedAtMs = 0;
  #compare = 0;
  #control = 0;
  #status = 0;

  attach(bus: Bus): void {
    this.#bus = bus;
    this.#page = bus.frame(counter.pageRegion, 0);
    this.#countedAtMs = bus.nowMs();
  }

  /** The host answers for the page of BAR1 and the MSI-X table of BAR2 itself. */
  read(region: number, offsetBytes: number, width: Width): Value {
    if (region !== counter.registerRegion || width !== 4) return allOnes(width);
    this.#followClock();
    switch (offsetBytes) {
      case counterRegister.ID:
        return counter.id;
      case counterRegister.COUNT:
        return this.#count;
      case counterRegister.COMPARE:
        return this.#compare;
      case counterRegister.CONTROL:
        return this.#control;
      case counterRegister.STATUS:
        return this.#status;
      case counterRegister.ADD:
        return 0;
      default:
        return allOnes(width);
    }
  }

  write(region: number, offsetBytes: number, width: Width, value: Value): void {
    if (region !== counter.registerRegion || width !== 4) return;
    this.#followClock();
    this.#writeRegister(offsetBytes, Number(value) >>> 0);
    this.#show();
    this.#bus!.wakeAfter(0);
  }

  #writeRegister(offsetBytes: number, value: number): void {
    switch (offsetBytes) {
      case counterRegister.COUNT:
        this.#count = value;
        break;
      case counterRegister.COMPARE:
        this.#compare = value;
        break;
      case counterRegister.CONTROL:
        this.#control = value & (RUN | INTERRUPT);
        break;
      case counterRegister.STATUS:
        this.#status &= ~value;
        break;
      case counterRegister.ADD:
        this.#countOn(value);
        break;
    }
  }

  /** Brings the page up to date, and wakes again in time for the next change of it. */
  step(): StepResult {
    this.#followClock();
    this.#show();
    if (!this.#isRunning) return 'idle';
    this.#bus!.wakeAfter(Math.min(this.#countsToGo, counter.pageAgeMsMax));
    return 'waiting';
  }

  reset(): void {
    this.#count = 0;
    this.#compare = 0;
    this.#control = 0;
    this.#status = 0;
    this.#show();
  }

  get #isRunning(): boolean {
    return (this.#control & RUN) !== 0 && !this.#isStopped;
  }

  /** How many counts until COUNT becomes COMPARE: 1 to 2^32. */
  get #countsToGo(): number {
    return ((this.#compare - this.#count - 1) >>> 0) + 1;
  }

  #followClock(): void {
    const elapsed = Math.floor(this.#bus!.nowMs() - this.#countedAtMs);
    if (elapsed <= 0) return;
    this.#countedAtMs += elapsed;
    if (this.#isRunning) this.#countOn(elapsed);
  }

  #countOn(counts: number): void {
    if (this.#isStopped) return;
    const reached = counts >= this.#countsToGo;
    this.#count = (this.#count + counts) >>> 0;
    if (!reached) return;
    this.#status |= REACHED;
    this.#show();
    if ((this.#control & INTERRUPT) !== 0) this.#bus!.interrupt(0);
  }

  /** Everything that can be seen without asking: the page and the INTx pin. */
  #show(): void {
    const { u32, base } = this.#page!;
    u32[base + counterPageWord.COUNT] = this.#count;
    u32[base + counterPageWord.STATUS] = this.#status;
    if (!this.#isStopped) this.#bus!.setIntx?.(this.#wantsAttention);
  }

  get #wantsAttention(): boolean {
    return (this.#status & REACHED) !== 0 && (this.#control & INTERRUPT) !== 0;
  }

  #stop(): void {
    this.#followClock();
    this.#isStopped = true;
  }

  #start(): void {
    this.#followClock();
    this.#isStopped = false;
    this.#show();
    // One too many does no harm, one that was lost on the way would.
    if (this.#wantsAttention) this.#bus!.interrupt(0);
    this.#bus!.wakeAfter(0);
  }

  #save(): Uint8Array {
    return savedCounter.encode({
      ...header,
      count: this.#count,
      compare: this.#compare,
      control: this.#control,
      status: this.#status,
    });
  }

  #load(state: Uint8Array): void {
    const { count, compare, control, status } = loadState(savedCounter, header, state);
    this.#count = count;
    this.#compare = compare;
    this.#control = control;
    this.#status = status;
    this.#show();
  }
}

/** For hosts that name a device by its module and a function of it. */
export function createCounter(): CounterDevice {
  return new CounterDevice();
}
