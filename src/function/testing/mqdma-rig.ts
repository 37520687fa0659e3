// Queues of the real mqdma on the real function, driven by hand as a driver and a client would.
import { assert } from '../../base/errors.js';
import { MiB, toIova } from '../../base/units.js';
import {
  completionWord,
  descriptorWord,
  isolationBit,
  mqdma,
  queueControl,
  queueControlOffset,
  queuePageOffset,
  queuePageWord,
  ringState,
  statusPageWord,
} from '../../device/mqdma/datasheet.js';
import type { AddressSpace, DmaAccount } from '../../iommu/types.js';
import type { Fd } from '../../os/fd.js';
import { createEmulatedFunction } from '../emulated/index.js';
import type { PciFunction, Window } from '../types.js';
import { eventually } from './counter-fixture.js';
import { DirectHelpers } from './direct-helpers.js';
import { realOs } from './emulated-fixture.js';

const { memory, clock } = realOs;
const entries = 64;
const completionsAt = 0x1_0000;
const answerMs = 5000;

/** By the word at which each begins, and the upper half of the pattern. */
const fieldWord = { ...descriptorWord, PATTERN_HIGH: descriptorWord.PATTERN + 1 };
type Fields = Partial<Record<keyof typeof fieldWord, number>>;

/** Where a queue has its client's memory. */
export const rigIova = 0x10_0000;
export const rigBytes = 4 * MiB;

export function createMqdma(): Promise<PciFunction> {
  return createEmulatedFunction({
    os: realOs,
    helpers: new DirectHelpers(memory),
    device: {
      module: new URL('../../device/mqdma/create.js', import.meta.url).href,
      exportName: 'createMqdma',
      options: { queueCount: 4 },
    },
    arenaBytes: 2 ** 30,
    name: 'mqdma',
  });
}

/** A page of a queue as a window, and a mapping of it such as a client has. */
export async function openPage(fn: PciFunction, queue: number, access: 'read' | 'read-write') {
  const { pageBytes } = memory;
  const offsetBytes = queuePageOffset(queue, pageBytes) + (access === 'read' ? pageBytes : 0);
  const ranges = [{ offsetBytes, lengthBytes: pageBytes }];
  const spec = { region: mqdma.queueRegion, ranges, access };
  const window = await fn.openWindow(spec, { uid: process.getuid?.() ?? 0 });
  assert(window.fd !== undefined, 'a window with memory');
  const writable = access === 'read-write';
  const place = { offsetBytes: 0, lengthBytes: pageBytes, writable, guard: 'ones' } as const;
  return { window, u32: new Uint32Array(memory.map(window.fd, place).buffer) };
}

export class QueueRig implements AsyncDisposable {
  readonly space: AddressSpace;
  readonly account: DmaAccount;
  readonly words: Uint32Array;
  readonly #fn: PciFunction;
  readonly #fd: Fd;
  readonly #windows: readonly Window[];
  readonly #page: Uint32Array;
  readonly #status: Uint32Array;
  #submitted = 0;
  #consumed = 0;

  /** Opens a queue under a PASID, with memory, and connects its rings. */
  static async open(fn: PciFunction, queue: number, pasid: number): Promise<QueueRig> {
    const fd = memory.create('lessor-test-client', rigBytes);
    const space = await fn.dma.open({ pasid });
    const account = { placedBytesMax: 64 * MiB, tablePagesMax: 64, placedBytes: 0, tablePages: 0 };
    await space.map({ fd, offsetBytes: 0 }, toIova(rigIova), rigBytes, 'read-write', account);
    const registers = fn.registers(mqdma.controlRegion);
    const at = queueControlOffset(queue);
    await registers.write32(at + queueControl.PASID, pasid);
    await registers.write32(at + queueControl.ISOLATION, isolationBit.PASID);
    await registers.write32(at + queueControl.ENABLE, 1);
    const page = await openPage(fn, queue, 'read-write');
    const status = await openPage(fn, queue, 'read');
    const windows = [page.window, status.window];
    for (const window of windows) await window.connect();
    const rig = new QueueRig(fn, fd, space, account, windows, page.u32, status.u32);
    await rig.connect();
    return rig;
  }

  private constructor(
    fn: PciFunction,
    fd: Fd,
    space: AddressSpace,
    account: DmaAccount,
    windows: readonly Window[],
    page: Uint32Array,
    status: Uint32Array,
  ) {
    this.#fn = fn;
    this.#fd = fd;
    this.space = space;
    this.account = account;
    this.#windows = windows;
    this.#page = page;
    this.#status = status;
    const spec = { offsetBytes: 0, lengthBytes: rigBytes, writable: true } as const;
    this.words = new Uint32Array(memory.map(fd, spec).buffer);
  }

  /** Connects the rings, anew after a fault. */
  async connect(): Promise<void> {
    await this.#setRings(0, ringState.DISCONNECTED);
    this.#submitted = 0;
    this.#consumed = 0;
    this.words.fill(0, completionsAt / 4, completionsAt / 4 + entries * 4);
    const page = this.#page;
    page[queuePageWord.RING_ENTRIES] = entries;
    page[queuePageWord.DESCRIPTORS_LOW] = rigIova;
    page[queuePageWord.COMPLETIONS_LOW] = rigIova + completionsAt;
    page[queuePageWord.TAIL] = 0;
    page[queuePageWord.COMPLETION_HEAD] = 0;
    await this.#setRings(1, ringState.CONNECTED);
  }

  /** Writes a descriptor, and rings no doorbell. */
  prepare(fields: Fields): void {
    const at = (this.#submitted % entries) * 16;
    this.words.fill(0, at, at + 16);
    for (const [name, value] of Object.entries(fields)) {
      this.words[at + fieldWord[name as keyof Fields]] = value;
    }
    this.#submitted += 1;
  }

  /** Submits without waiting; at most as many as the ring holds. */
  submit(fields: Fields): void {
    this.prepare(fields);
    Atomics.store(this.#page, queuePageWord.TAIL, this.#submitted);
    if (Atomics.load(this.#status, statusPageWord.NEED_WAKEUP) !== 0) this.#fn.kick();
  }

  /** Waits for the next completion. @returns Its status. */
  async complete(): Promise<number> {
    const at = completionsAt / 4 + (this.#consumed % entries) * 4 + completionWord.STATUS;
    const phase = (Math.floor(this.#consumed / entries) & 1) ^ 1;
    const endMs = clock.nowMs() + answerMs;
    while ((Atomics.load(this.words, at) & 1) !== phase) {
      assert(clock.nowMs() < endMs, 'a completion');
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#consumed += 1;
    this.#page[queuePageWord.COMPLETION_HEAD] = this.#consumed;
    return this.words[at]! >>> 8;
  }

  /** The window with the doorbells. */
  get page(): Window {
    return this.#windows[0]!;
  }

  /** Of the last fault, as the status page shows it: the reason's code. */
  get faultReason(): number {
    return this.#status[statusPageWord.FAULT_REASON]!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const window of this.#windows) await window[Symbol.asyncDispose]();
    await this.space[Symbol.asyncDispose]();
    this.#fd.close();
  }

  async #setRings(value: number, state: number): Promise<void> {
    Atomics.store(this.#page, queuePageWord.RING_CONTROL, value);
    this.#fn.kick();
    await eventually(
      clock,
      `ring state ${state}`,
      () => Atomics.load(this.#status, statusPageWord.STATE) === state,
    );
  }
}
