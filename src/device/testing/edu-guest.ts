// Plays the driver of an EDU device on a TestBus, in the accesses that drivers make.
import { createEdu, type EduDevice, type EduOptions } from '../edu/device.js';
import { edu, eduRegister } from '../edu/registers.js';
import type { Value, Width } from '../types.js';
import { TestBus, type TestBusOptions } from './test-bus.js';

const { DMA_SOURCE, DMA_DESTINATION, DMA_COUNT, DMA_COMMAND } = eduRegister;

/** Two pages of memory are mapped here. */
export const guestIova = 0x10_0000;
export const guestBytes = 8192;
/** The buffer on board. */
export const buffer = edu.bufferAt;

/** Lets every promise that can settle do so. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A guest's view of one device, in the accesses that its driver makes. */
export class EduGuest {
  readonly bus: TestBus;
  readonly device: EduDevice;
  readonly logged: string[] = [];
  /** Where in the bus's memory `guestIova` lies. */
  readonly at: number;

  constructor(options: EduOptions = {}, busOptions: TestBusOptions = {}) {
    this.bus = new TestBus(busOptions);
    const none = () => {};
    const debug = (message: string) => void this.logged.push(message);
    this.device = createEdu({ log: { debug, info: none, warn: none, error: none }, ...options });
    this.device.attach(this.bus);
    this.at = this.bus.map(undefined, guestIova, guestBytes);
  }

  read(register: number, width: Width = 4): Value {
    return this.device.read(0, register, width) as Value;
  }

  write(register: number, value: Value, width: Width = 4): void {
    this.device.write(0, register, width, value);
  }

  step(): void {
    while (this.device.step() === 'more');
  }

  /** Programs a transfer with 8-byte accesses, as 64-bit drivers do, and waits until it begins. */
  command(source: bigint, destination: bigint, count: bigint, command: bigint): void {
    this.write(DMA_SOURCE, source, 8);
    this.write(DMA_DESTINATION, destination, 8);
    this.write(DMA_COUNT, count, 8);
    this.write(DMA_COMMAND, command, 8);
    this.bus.now += 100;
    this.step();
  }

  get memory(): Uint8Array {
    return this.bus.u8.subarray(this.at, this.at + guestBytes);
  }

  fill(seed: number): void {
    for (let index = 0; index < guestBytes; index++) this.memory[index] = (index * 7 + seed) & 0xff;
  }
}
