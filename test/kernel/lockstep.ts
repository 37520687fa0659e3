// Makes the same call on both sides, each from the same memory, and says how they differ.
import { errnoName } from '../../src/base/errno.js';
import { type Call, contextKey, type Done } from './call.js';
import { at, dataAt, scratchBytes, type WorldMemory } from './memory.js';
import type { Outcome, Side } from './side.js';

const dataPattern = 0xa5;
const pageBytes = 4096;
const hidden = 0x0fd0fd;

export interface Step {
  readonly done: Done;
  readonly one: string;
  readonly other: string;
  /** Absent: both did the same. */
  readonly difference?: string;
}

export class Lockstep {
  readonly #memory: WorldMemory;
  readonly #one: Side;
  readonly #other: Side;
  /** Both numbers of every descriptor that calls returned. */
  readonly #descriptors: (readonly [number, number])[] = [];
  readonly #before = Buffer.alloc(scratchBytes);
  readonly #after = Buffer.alloc(scratchBytes);

  constructor(memory: WorldMemory, one: Side, other: Side) {
    this.#memory = memory;
    this.#one = one;
    this.#other = other;
  }

  run(call: Call): Step {
    const { scratch } = this.#memory;
    this.#lay(call, 0);
    scratch.copy(this.#before);
    const first = this.#perform(this.#one, call, 0);
    scratch.copy(this.#after);
    this.#lay(call, 1);
    const second = this.#perform(this.#other, call, 1);
    const key = this.#takeDescriptors(call, first, second);
    this.#hideDescriptors(call);
    const done: Done = {
      call,
      result: first.result,
      bytes: Uint8Array.from(this.#after.subarray(structAt(call), structAt(call) + lengthOf(call))),
      ...(key === undefined ? {} : { key }),
    };
    const difference = this.#difference(first, second);
    const shown = { done, one: show(first), other: show(second) };
    return difference === undefined ? shown : { ...shown, difference };
  }

  /** The memory as the call finds it. */
  #lay(call: Call, side: 0 | 1): void {
    const { scratch } = this.#memory;
    scratch.fill(0, 0, pageBytes);
    scratch.fill(dataPattern, pageBytes);
    for (const { offset, bytes } of call.data) scratch.set(bytes, pageBytes + offset);
    if (typeof call.argument === 'number') return;
    const start = structAt(call);
    scratch.set(call.argument, start);
    for (const { offset, key } of call.descriptors) {
      const numbers = this.#numbersOf(key);
      if (numbers !== undefined) scratch.writeInt32LE(numbers[side], start + offset);
    }
  }

  #perform(side: Side, call: Call, index: 0 | 1): Outcome {
    const { file } = call;
    if (file === undefined) return side.ioctl(call.request, this.#argument(call));
    if (file.action === 'open device') return side.openDevice();
    const numbers = this.#numbersOf(file.key);
    if (numbers === undefined) return { result: 0 };
    if (file.action === 'ioctl') {
      return side.deviceIoctl(numbers[index], call.request, this.#argument(call));
    }
    const address = this.#memory.address(dataAt);
    if (file.action === 'read') return side.read(numbers[index], address, file.lengthBytes);
    if (file.action === 'write') return side.write(numbers[index], address, file.lengthBytes);
    side.closeDescriptor(numbers[index]);
    return { result: 0 };
  }

  #numbersOf(key: number): readonly [number, number] | undefined {
    if (key === contextKey) return [this.#one.context, this.#other.context];
    return this.#descriptors[key];
  }

  #argument(call: Call): number {
    return typeof call.argument === 'number' ? call.argument : this.#place(call);
  }

  #place(call: Call): number {
    const { place } = call;
    if (place === 'hole') return this.#memory.address(at.hole);
    const start = place === 'read-only' ? at.readOnlyScratch : at.scratch;
    return this.#memory.address(start + structAt(call));
  }

  #takeDescriptors(call: Call, first: Outcome, second: Outcome): number | undefined {
    if (first.descriptor !== undefined && second.descriptor !== undefined) {
      return this.#descriptors.push([first.descriptor, second.descriptor]) - 1;
    }
    if (call.descriptorAt === undefined || call.place === 'hole') return undefined;
    const offset = structAt(call) + call.descriptorAt;
    const one = this.#after.readInt32LE(offset);
    const other = this.#memory.scratch.readInt32LE(offset);
    if (first.result >= 0) this.#one.adopt(one);
    if (second.result >= 0) this.#other.adopt(other);
    if (first.result < 0 || second.result < 0) return undefined;
    return this.#descriptors.push([one, other]) - 1;
  }

  /** Makes descriptors alike, but those that are where one side left what was there. */
  #hideDescriptors(call: Call): void {
    const start = structAt(call);
    for (const { offset, key } of call.descriptors) {
      const numbers = this.#numbersOf(key);
      if (numbers !== undefined) this.#hide(start + offset, numbers);
    }
    const last = this.#descriptors.at(-1);
    if (call.descriptorAt !== undefined && last !== undefined) {
      this.#hide(start + call.descriptorAt, last);
    }
  }

  #hide(offset: number, [one, other]: readonly [number, number]): void {
    const { scratch } = this.#memory;
    if (this.#after.readInt32LE(offset) === one) this.#after.writeInt32LE(hidden, offset);
    if (scratch.readInt32LE(offset) === other) scratch.writeInt32LE(hidden, offset);
  }

  #difference(first: Outcome, second: Outcome): string | undefined {
    if (first.crash !== undefined || second.crash !== undefined) return 'a crash';
    if (first.result !== second.result) return 'the result';
    const { scratch } = this.#memory;
    if (this.#after.equals(scratch)) return undefined;
    const parts: string[] = [];
    for (let offset = 0; offset < scratchBytes && parts.length < 8; offset += 8) {
      const one = this.#after.readBigUInt64LE(offset);
      const other = scratch.readBigUInt64LE(offset);
      if (one !== other) parts.push(`at ${offset}: 0x${one.toString(16)}, 0x${other.toString(16)}`);
    }
    return `what was written back (${parts.join('; ')})`;
  }
}

function lengthOf(call: Call): number {
  return typeof call.argument === 'number' ? 0 : call.argument.length;
}

/** Where in the scratch pages the structure begins. */
function structAt(call: Call): number {
  return call.place === 'before-hole' ? scratchBytes - lengthOf(call) : 0;
}

function show({ result, crash }: Outcome): string {
  if (crash !== undefined) return `crashed: ${crash}`;
  return result < 0 ? errnoName(-result) : `${result}`;
}
