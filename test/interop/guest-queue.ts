// A driver for one queue of mqdma as a guest has it: rings in guest memory, registers in a BAR.
import assert from 'node:assert/strict';
import {
  completionWord,
  descriptorWord,
  mqdma,
  opcode,
  queuePage,
  ringState,
  statusPage,
} from '../../src/device/mqdma/datasheet.js';
import { eventually } from './lab.js';
import type { Qtest } from './qemu/qtest.js';

/** Where things are in the guest's memory space. */
export interface QueuePlaces {
  /** The queue's read-write page. */
  readonly page: number;
  /** Its read-only page. */
  readonly status: number;
  /** 8 KiB of guest memory for both rings. */
  readonly rings: number;
}

export interface Descriptor {
  readonly opcode: number;
  readonly source?: number;
  readonly destination?: number;
  readonly lengthBytes?: number;
  readonly pattern?: number;
}

export interface Completion {
  readonly status: number;
  readonly result: number;
}

const entries = 16;

export class GuestQueue {
  readonly #qtest: Qtest;
  readonly #places: QueuePlaces;
  /** Wakes a device that sleeps; a store into a mapped page does not. */
  readonly #kick: () => Promise<void>;
  #tail = 0;

  constructor(qtest: Qtest, places: QueuePlaces, kick: () => Promise<void>) {
    this.#qtest = qtest;
    this.#places = places;
    this.#kick = kick;
  }

  get #completions(): number {
    return this.#places.rings + entries * mqdma.descriptorBytes;
  }

  async #write(name: keyof typeof queuePage, value: number): Promise<void> {
    await this.#qtest.write32(this.#places.page + queuePage[name], value);
  }

  status(name: keyof typeof statusPage): Promise<number> {
    return this.#qtest.read32(this.#places.status + statusPage[name]);
  }

  /** Connects the rings and waits until the device says so. */
  async connect(): Promise<void> {
    const { rings } = this.#places;
    await this.#qtest.writeBytes(rings, new Uint8Array(8192));
    this.#tail = 0;
    await this.#write('RING_CONTROL', 0);
    await this.#write('TAIL', 0);
    await this.#write('COMPLETION_HEAD', 0);
    await this.#write('RING_ENTRIES', entries);
    await this.#write('DESCRIPTORS_LOW', rings);
    await this.#write('DESCRIPTORS_HIGH', 0);
    await this.#write('COMPLETIONS_LOW', this.#completions);
    await this.#write('COMPLETIONS_HIGH', 0);
    await this.#write('RING_CONTROL', 1);
    await this.#kick();
    await eventually(
      async () => (await this.status('STATE')) === ringState.CONNECTED,
      'the rings to be connected',
    );
  }

  /** Asks for an interrupt with what completes next. */
  async arm(value: number): Promise<void> {
    await this.#write('ARM', value);
  }

  /** Rings the doorbell for one descriptor, and does not wait. @returns Its ticket. */
  async submit(descriptor: Descriptor): Promise<number> {
    const { source = 0, destination = 0, lengthBytes = 0, pattern = 0 } = descriptor;
    const words = new Uint32Array(mqdma.descriptorBytes / 4);
    words[descriptorWord.OPCODE] = descriptor.opcode;
    words[descriptorWord.TAG] = this.#tail + 0x100;
    words[descriptorWord.LENGTH] = lengthBytes;
    words[descriptorWord.SOURCE] = source;
    words[descriptorWord.DESTINATION] = destination;
    words[descriptorWord.PATTERN] = pattern;
    const ticket = this.#tail;
    const at = this.#places.rings + (ticket % entries) * mqdma.descriptorBytes;
    await this.#qtest.writeBytes(at, new Uint8Array(words.buffer));
    this.#tail += 1;
    await this.#write('TAIL', this.#tail);
    await this.#kick();
    return ticket;
  }

  /** The completion of a ticket, if it is there: in guest memory, with the right phase. */
  async completionOf(ticket: number): Promise<Completion | undefined> {
    const at = this.#completions + (ticket % entries) * mqdma.completionBytes;
    const bytes = await this.#qtest.readBytes(at, mqdma.completionBytes);
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, mqdma.completionBytes / 4);
    const last = words[completionWord.STATUS] ?? 0;
    const phase = (Math.floor(ticket / entries) & 1) ^ 1;
    if ((last & 1) !== phase) return undefined;
    assert.equal(words[completionWord.TAG], ticket + 0x100, 'the tag of the completion');
    return { status: (last >>> 8) & 0xff, result: words[completionWord.RESULT] ?? 0 };
  }

  /** Submits, waits for the completion, and makes room for the next. */
  async run(descriptor: Descriptor): Promise<Completion> {
    const ticket = await this.submit(descriptor);
    let done: Completion | undefined;
    await eventually(async () => {
      done = await this.completionOf(ticket);
      return done !== undefined;
    }, `the completion of descriptor ${ticket}`);
    await this.#write('COMPLETION_HEAD', ticket + 1);
    assert.ok(done);
    return done;
  }

  nop(): Promise<Completion> {
    return this.run({ opcode: opcode.NOP });
  }

  copy(source: number, destination: number, lengthBytes: number): Promise<Completion> {
    return this.run({ opcode: opcode.COPY, source, destination, lengthBytes });
  }
}
