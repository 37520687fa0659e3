// Plays driver and holder of one queue of an mqdma device on a TestBus: registers and rings by
// hand, so that device tests are independent of the queue library and the driver.
import {
  completionWord,
  control,
  descriptorWord,
  isolationBit,
  mqdma,
  opcode,
  queueControl,
  queueControlOffset,
  queuePageOffset,
  queuePageWord,
  statusPageWord,
} from '../mqdma/datasheet.js';
import type { MqdmaDevice } from '../mqdma/device.js';
import type { TestBus } from './test-bus.js';

const pageBytes = 4096;

export interface Completion {
  readonly tag: number;
  readonly result: number;
  readonly fetched: number;
  readonly status: number;
}

export interface DescriptorFields {
  readonly opcode?: number;
  readonly flags?: number;
  readonly pasid?: number;
  readonly tag?: number;
  readonly length?: number;
  readonly source?: number | bigint;
  readonly destination?: number | bigint;
  readonly pattern?: bigint;
  readonly seed?: number;
}

export interface HolderOptions {
  readonly pasid?: number;
  readonly bounds?: { readonly base: number; readonly lengthBytes: number };
  readonly entries?: number;
  /** IOVA of the descriptor ring; the completion ring follows 1 MiB further. */
  readonly ringIova?: number;
}

/** Runs the device until it has nothing to do. @returns Steps taken. */
export function settle(device: MqdmaDevice, stepsMax = 100_000): number {
  let steps = 0;
  while (device.step() === 'more') {
    if (++steps > stepsMax) throw new RangeError('the device does not come to rest');
  }
  return steps;
}

export class TestHolder {
  readonly device: MqdmaDevice;
  readonly bus: TestBus;
  readonly queue: number;
  readonly entries: number;
  readonly pasid: number | undefined;
  readonly ringIova: number;
  readonly completionsIova: number;
  readonly descriptorsAt: number;
  readonly completionsAt: number;
  tail = 0;
  consumed = 0;

  /** Programs isolation, maps the rings and enables the queue; `connect` does the rest. */
  constructor(device: MqdmaDevice, bus: TestBus, queue: number, options: HolderOptions = {}) {
    this.device = device;
    this.bus = bus;
    this.queue = queue;
    this.pasid = options.pasid;
    this.entries = options.entries ?? 64;
    this.ringIova = options.ringIova ?? 0x100000;
    this.completionsIova = this.ringIova + 0x100000;
    this.descriptorsAt = bus.map(this.pasid, this.ringIova, this.entries * mqdma.descriptorBytes);
    this.completionsAt = bus.map(
      this.pasid,
      this.completionsIova,
      this.entries * mqdma.completionBytes,
    );
    this.program(options);
  }

  program(options: HolderOptions): void {
    const { pasid, bounds } = options;
    this.control(queueControl.PASID, pasid ?? 0);
    this.control(queueControl.DMA_BASE_LOW, (bounds?.base ?? 0) >>> 0);
    this.control(queueControl.DMA_BASE_HIGH, Math.floor((bounds?.base ?? 0) / 2 ** 32));
    this.control(queueControl.DMA_LENGTH_LOW, (bounds?.lengthBytes ?? 0) >>> 0);
    this.control(queueControl.DMA_LENGTH_HIGH, Math.floor((bounds?.lengthBytes ?? 0) / 2 ** 32));
    const bits =
      (pasid === undefined ? 0 : isolationBit.PASID) |
      (bounds === undefined ? 0 : isolationBit.BOUNDS);
    this.control(queueControl.ISOLATION, bits);
    this.control(queueControl.ENABLE, 1);
  }

  control(register: number, value: number): void {
    this.device.write(mqdma.controlRegion, queueControlOffset(this.queue) + register, 4, value);
  }

  readControl(register: number): number {
    return Number(
      this.device.read(mqdma.controlRegion, queueControlOffset(this.queue) + register, 4),
    );
  }

  header(register: keyof typeof control): number {
    return Number(this.device.read(mqdma.controlRegion, control[register], 4));
  }

  get page(): Uint32Array {
    return this.bus.frameOf(mqdma.queueRegion, queuePageOffset(this.queue, pageBytes)).u32;
  }

  get statusPage(): Uint32Array {
    const offset = queuePageOffset(this.queue, pageBytes) + pageBytes;
    return this.bus.frameOf(mqdma.queueRegion, offset).u32;
  }

  get state(): number {
    return this.statusPage[statusPageWord.STATE]!;
  }

  get error(): number {
    return this.statusPage[statusPageWord.ERROR]!;
  }

  /** Writes the ring registers and sets RING_CONTROL; the device acts at its next step. */
  connect(): this {
    const page = this.page;
    this.tail = 0;
    this.consumed = 0;
    this.bus.u8.fill(0, this.completionsAt, this.completionsAt + this.entries * 16);
    page[queuePageWord.TAIL] = 0;
    page[queuePageWord.COMPLETION_HEAD] = 0;
    page[queuePageWord.RING_ENTRIES] = this.entries;
    page[queuePageWord.DESCRIPTORS_LOW] = this.ringIova >>> 0;
    page[queuePageWord.DESCRIPTORS_HIGH] = Math.floor(this.ringIova / 2 ** 32);
    page[queuePageWord.COMPLETIONS_LOW] = this.completionsIova >>> 0;
    page[queuePageWord.COMPLETIONS_HIGH] = Math.floor(this.completionsIova / 2 ** 32);
    page[queuePageWord.RING_CONTROL] = 1;
    return this;
  }

  disconnect(): void {
    this.page[queuePageWord.RING_CONTROL] = 0;
  }

  /** Writes a descriptor into the next place of the ring, without ringing. */
  put(fields: DescriptorFields): void {
    const words = new Uint32Array(16);
    const wide = (word: number, value: number | bigint) => {
      words[word] = Number(BigInt(value) & 0xffffffffn);
      words[word + 1] = Number(BigInt(value) >> 32n);
    };
    words[descriptorWord.OPCODE] = (fields.opcode ?? opcode.NOP) | (fields.flags ?? 0);
    words[descriptorWord.PASID] = fields.pasid ?? 0;
    words[descriptorWord.TAG] = fields.tag ?? 0;
    words[descriptorWord.LENGTH] = fields.length ?? 0;
    wide(descriptorWord.SOURCE, fields.source ?? 0);
    wide(descriptorWord.DESTINATION, fields.destination ?? 0);
    wide(descriptorWord.PATTERN, fields.pattern ?? 0n);
    words[descriptorWord.SEED] = fields.seed ?? 0;
    this.putWords(words);
  }

  putWords(words: Uint32Array): void {
    const at = this.descriptorsAt / 4 + (this.tail % this.entries) * 16;
    this.bus.u32.set(words, at);
    this.tail = (this.tail + 1) >>> 0;
  }

  ring(): void {
    Atomics.store(this.page, queuePageWord.TAIL, this.tail);
  }

  submit(fields: DescriptorFields): void {
    this.put(fields);
    this.ring();
  }

  /** Takes every new completion, by its phase bit, and publishes the head. */
  reap(): Completion[] {
    const found: Completion[] = [];
    for (;;) {
      const at = this.completionsAt / 4 + (this.consumed % this.entries) * 4;
      const last = this.bus.u32[at + completionWord.STATUS]!;
      const phase = (Math.floor(this.consumed / this.entries) & 1) ^ 1;
      if ((last & 1) !== phase) break;
      found.push({
        tag: this.bus.u32[at + completionWord.TAG]!,
        result: this.bus.u32[at + completionWord.RESULT]!,
        fetched: this.bus.u32[at + completionWord.FETCHED]!,
        status: last >>> 8,
      });
      this.consumed = (this.consumed + 1) >>> 0;
    }
    this.page[queuePageWord.COMPLETION_HEAD] = this.consumed;
    return found;
  }

  /** Submits one, lets the device come to rest, and returns its completion. */
  run(fields: DescriptorFields): Completion | undefined {
    this.submit(fields);
    settle(this.device);
    return this.reap().at(-1);
  }
}
