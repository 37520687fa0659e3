// A bus for tests of devices: plain memory behind a page map per PASID, plain frames, interrupts
// that are written down, time that stands still until told.
import { type Access, type FaultReason, faultReasons } from '../../iommu/types.js';
import type { Bus, BusFault, DirectMemory, Frame } from '../types.js';

const pageBytes = 4096;

interface PageEntry {
  readonly offset: number;
  readonly access: Access;
}

/** A message that waits for its answer. */
export interface PendingMessage {
  readonly kind: 'read' | 'write';
  readonly iova: number;
  /** Does the access and resolves the promise. */
  answer(): void;
  /** Resolves the promise with a fault instead. */
  refuse(reason: FaultReason): void;
  /** Rejects the promise: the peer is gone. */
  fail(): void;
}

class TestFrame implements Frame {
  u32: Uint32Array = new Uint32Array(pageBytes / 4);
  base = 0;
}

export interface TestBusOptions {
  readonly memoryBytes?: number;
  /** No direct memory: every DMA is a message in `pending`. With it, none is. */
  readonly messages?: boolean;
  /** Without `generation`, a device may keep no translation. */
  readonly withoutGeneration?: boolean;
}

export class TestBus implements Bus {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly direct: DirectMemory | undefined;
  /** Vectors in the order in which they fired. */
  readonly interrupts: number[] = [];
  /** The level of the INTx pin. */
  intx = false;
  readonly pending: PendingMessage[] = [];
  now = 1000;
  wakeAtMs: number | undefined;
  yields = 0;
  faults = 0;
  translations = 0;
  /** Called by `yieldPoint`, as the host acknowledges invalidations there. */
  onYield: (() => void) | undefined;
  /** Called for every vector, after it was written down. */
  onInterrupt: ((vector: number) => void) | undefined;
  #generation = 1;
  #free = pageBytes;
  readonly #tables = new Map<number | undefined, Map<number, PageEntry>>();
  readonly #frames = new Map<string, TestFrame>();

  constructor(options: TestBusOptions = {}) {
    const buffer = new ArrayBuffer(options.memoryBytes ?? 4 * 1024 * 1024);
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
    const memory: DirectMemory = {
      u8: this.u8,
      u32: this.u32,
      pageBytes,
      translate: (pasid, iova, access) => this.translate(pasid, iova, access),
      faultCount: () => this.faults,
    };
    const kept = { ...memory, generation: () => this.#generation };
    this.direct = options.messages ? undefined : options.withoutGeneration ? memory : kept;
  }

  /** Takes fresh memory and maps it, page by page, in order or scattered. @returns Its offset. */
  map(
    pasid: number | undefined,
    iova: number,
    lengthBytes: number,
    access: Access = 'read-write',
  ): number {
    const offset = this.#free;
    this.#free += Math.ceil(lengthBytes / pageBytes) * pageBytes;
    if (this.#free > this.u8.length) throw new RangeError('test memory is used up');
    this.mapAt(pasid, iova, offset, lengthBytes, access);
    return offset;
  }

  /** Maps given memory. All page-aligned. */
  mapAt(
    pasid: number | undefined,
    iova: number,
    offset: number,
    lengthBytes: number,
    access: Access = 'read-write',
  ): void {
    const table = this.#tables.get(pasid) ?? new Map<number, PageEntry>();
    this.#tables.set(pasid, table);
    for (let at = 0; at < lengthBytes; at += pageBytes) {
      table.set((iova + at) / pageBytes, { offset: offset + at, access });
    }
  }

  unmap(pasid: number | undefined, iova: number, lengthBytes: number): void {
    const table = this.#tables.get(pasid);
    for (let at = 0; at < lengthBytes; at += pageBytes) table?.delete((iova + at) / pageBytes);
    this.#generation++;
  }

  translate(pasid: number | undefined, iova: number, access: 'read' | 'write'): number {
    this.translations++;
    const table = this.#tables.get(pasid);
    if (table === undefined) return -1 - faultReasons.indexOf('not attached');
    const entry = table.get(Math.floor(iova / pageBytes));
    if (entry === undefined) return -1 - faultReasons.indexOf('not mapped');
    if (entry.access !== 'read-write' && entry.access !== access) {
      return -1 - faultReasons.indexOf('no permission');
    }
    return entry.offset + (iova % pageBytes);
  }

  frame(region: number, offsetBytes: number): Frame {
    return this.frameOf(region, offsetBytes);
  }

  frameOf(region: number, offsetBytes: number): TestFrame {
    const key = `${region}:${offsetBytes}`;
    let frame = this.#frames.get(key);
    if (frame === undefined) {
      frame = new TestFrame();
      this.#frames.set(key, frame);
    }
    return frame;
  }

  /** What connecting and detaching a window do: other, zeroed memory behind the frame. */
  replaceFrame(region: number, offsetBytes: number): Uint32Array {
    const frame = this.frameOf(region, offsetBytes);
    frame.u32 = new Uint32Array(pageBytes / 4);
    return frame.u32;
  }

  read(
    pasid: number | undefined,
    iova: number,
    into: Uint8Array,
  ): BusFault | undefined | Promise<BusFault | undefined> {
    return this.#message('read', pasid, iova, into);
  }

  write(
    pasid: number | undefined,
    iova: number,
    from: Uint8Array,
  ): BusFault | undefined | Promise<BusFault | undefined> {
    return this.#message('write', pasid, iova, from);
  }

  #message(
    kind: 'read' | 'write',
    pasid: number | undefined,
    iova: number,
    bytes: Uint8Array,
  ): BusFault | undefined | Promise<BusFault | undefined> {
    if (this.direct !== undefined) return this.#transfer(kind, pasid, iova, bytes);
    return new Promise((resolve, reject) => {
      this.pending.push({
        kind,
        iova,
        answer: () => resolve(this.#transfer(kind, pasid, iova, bytes)),
        refuse: (reason) => resolve({ iova, access: kind, reason }),
        fail: () => reject(new RangeError('the peer is gone')),
      });
    });
  }

  #transfer(
    kind: 'read' | 'write',
    pasid: number | undefined,
    iova: number,
    bytes: Uint8Array,
  ): BusFault | undefined {
    for (let index = 0; index < bytes.length; index++) {
      const at = this.translate(pasid, iova + index, kind);
      if (at < 0) return { iova: iova + index, access: kind, reason: faultReasons[-1 - at]! };
      if (kind === 'read') bytes[index] = this.u8[at]!;
      else this.u8[at] = bytes[index]!;
    }
    return undefined;
  }

  interrupt(vector: number): void {
    this.interrupts.push(vector);
    this.onInterrupt?.(vector);
  }

  setIntx(level: boolean): void {
    this.intx = level;
  }

  wakeAfter(delayMs: number): void {
    this.wakeAtMs = this.now + delayMs;
  }

  nowMs(): number {
    return this.now;
  }

  yieldPoint(): void {
    this.yields++;
    this.onYield?.();
  }
}
