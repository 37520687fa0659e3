// One queue of mqdma as a slice: what grant, quiesce, reset and ungrant mean in its registers.
import type { Clock } from '../../base/clock.js';
import { assert, LessorError } from '../../base/errors.js';
import {
  isolationBit,
  mqdma,
  queuePage,
  queuePageOffset,
  queueStatus,
} from '../../device/mqdma/datasheet.js';
import type { Slice, Terms, WindowSpec } from '../types.js';
import { waitIdle } from './idle.js';
import type { MqdmaIsolation } from './options.js';
import { allOnes, type QueueRegisters } from './queue-registers.js';

export interface QueueSliceParts {
  readonly registers: QueueRegisters;
  readonly isolation: MqdmaIsolation;
  readonly pageStrideBytes: number;
  /** The function lets clients map pages of BAR2. */
  readonly mappable: boolean;
  readonly clock: Clock;
  /** Wakes a device that sleeps. */
  readonly kick: () => void;
  /** Reports what faulted so far, while it is still this lease's. */
  readonly collectFaults: () => Promise<void>;
}

const isolationBits: Readonly<Record<MqdmaIsolation, number>> = {
  pasid: isolationBit.PASID,
  'device-bounds': isolationBit.BOUNDS,
  cooperative: 0,
};

const nowhere = { base: 0, lengthBytes: 0 };

export class QueueSlice implements Slice {
  readonly name: string;
  readonly kind = 'queue';
  readonly windows: readonly WindowSpec[];
  readonly vectors: readonly number[];
  readonly index: number;
  readonly registers: QueueRegisters;
  readonly #parts: QueueSliceParts;
  #granted = false;
  #permitted = true;

  constructor(index: number, parts: QueueSliceParts) {
    this.index = index;
    this.name = `queue${index}`;
    this.vectors = [index];
    this.registers = parts.registers;
    this.#parts = parts;
    this.windows = windowsOf(index, parts);
  }

  /** Holds a grant. */
  get isGranted(): boolean {
    return this.#granted;
  }

  async grant(terms: Terms): Promise<void> {
    assert(!this.#granted, `${this.name} is granted already`);
    checkTerms(this.#parts.isolation, terms);
    await this.registers.write('RESET', 1);
    this.#permitted = true;
    await this.#proveIdle();
    await this.#confine(terms.pasid ?? 0, terms.bounds ?? nowhere);
    await this.registers.write('ENABLE', 1);
    this.#granted = true;
  }

  /**
   * Programs what confines the queue, and reads it back: a dropped write must not go unnoticed.
   *
   * @throws LessorError `DRIVER_FAILED`
   */
  async #confine(pasid: number, bounds: { base: number; lengthBytes: number }): Promise<void> {
    const { registers } = this;
    const { isolation } = this.#parts;
    let same = true;
    if (isolation === 'pasid') {
      await registers.write('PASID', pasid);
      same = (await registers.read('PASID')) === pasid;
    } else if (isolation === 'device-bounds') {
      await registers.writeWide('DMA_BASE', bounds.base);
      await registers.writeWide('DMA_LENGTH', bounds.lengthBytes);
      same =
        (await registers.readWide('DMA_BASE')) === bounds.base &&
        (await registers.readWide('DMA_LENGTH')) === bounds.lengthBytes;
    }
    await registers.write('ISOLATION', isolationBits[isolation]);
    same &&= (await registers.read('ISOLATION')) === isolationBits[isolation];
    if (!same) throw new LessorError('DRIVER_FAILED', `${this.name} did not take its isolation`);
  }

  async quiesce(signal: AbortSignal): Promise<'idle' | 'busy'> {
    await this.registers.write('DRAIN', 1);
    await this.registers.write('ENABLE', 0);
    return waitIdle(this.registers, this.#parts.clock, signal);
  }

  async reset(signal: AbortSignal): Promise<'idle' | 'busy'> {
    // A reset clears the fault record: a holder must not hide what it tried by resetting at once.
    await this.#parts.collectFaults();
    await this.registers.write('RESET', 1);
    const result = await waitIdle(this.registers, this.#parts.clock, signal);
    if (result === 'idle' && this.#granted) {
      if (!this.#permitted) await this.registers.write('DRAIN', 1);
      await this.registers.write('ENABLE', 1);
    }
    return result;
  }

  /** DRAIN lets what is under way finish and starts nothing: just what a clear bit means. */
  async permitDma(permitted: boolean): Promise<void> {
    this.#permitted = permitted;
    await this.registers.write('DRAIN', permitted ? 0 : 1);
    if (permitted) this.#parts.kick();
  }

  /** What is left reaches nothing, were it enabled by mistake: PASID 0, or bounds of no length. */
  async ungrant(): Promise<void> {
    await this.#proveIdle();
    await this.#parts.collectFaults();
    await this.#confine(0, nowhere);
    this.#granted = false;
  }

  kick(): void {
    this.#parts.kick();
  }

  /** @throws LessorError `DRIVER_FAILED` unless the queue is idle now; disables it. */
  async #proveIdle(): Promise<void> {
    let status = await this.registers.read('STATUS');
    if ((status & queueStatus.ENABLED) !== 0) {
      await this.registers.write('ENABLE', 0);
      status = await this.registers.read('STATUS');
    }
    const mask = queueStatus.IDLE | queueStatus.ENABLED;
    if (status !== allOnes && (status & mask) === queueStatus.IDLE) return;
    throw new LessorError('DRIVER_FAILED', `${this.name} is not idle (status ${status})`);
  }

  /** To a known state, as after a reset of the function. @returns False when it is not idle. */
  async bringUp(signal: AbortSignal): Promise<boolean> {
    const { registers } = this;
    this.#granted = false;
    await registers.write('RESET', 1);
    if ((await waitIdle(registers, this.#parts.clock, signal)) === 'busy') return false;
    await this.#confine(0, nowhere);
    return true;
  }
}

function windowsOf(index: number, parts: QueueSliceParts): WindowSpec[] {
  const { pageStrideBytes, mappable } = parts;
  const offsetBytes = queuePageOffset(index, pageStrideBytes);
  const shared = { region: mqdma.queueRegion, lengthBytes: pageStrideBytes, mappable };
  const doorbells = [queuePage.RING_CONTROL, queuePage.TAIL, queuePage.KICK];
  return [
    {
      ...shared,
      name: 'queue',
      offsetBytes,
      access: 'read-write',
      doorbells: doorbells.map((at) => ({ offsetBytes: at, lengthBytes: 4 })),
    },
    { ...shared, name: 'status', offsetBytes: offsetBytes + pageStrideBytes, access: 'read' },
  ];
}

function checkTerms(isolation: MqdmaIsolation, terms: Terms): void {
  const { pasid, bounds } = terms;
  if (isolation === 'pasid') {
    assert(pasid !== undefined && bounds === undefined, 'terms of isolation pasid');
    assert(pasid > 0 && pasid < 2 ** mqdma.pasidBits, `PASID ${pasid}`);
  } else if (isolation === 'device-bounds') {
    assert(pasid === undefined && bounds !== undefined, 'terms of isolation device-bounds');
    const end = bounds.base + bounds.lengthBytes;
    assert(bounds.base >= 0 && bounds.lengthBytes > 0 && end <= mqdma.addressEnd, 'bounds');
  } else {
    assert(pasid === undefined && bounds === undefined, 'terms of isolation cooperative');
  }
}
