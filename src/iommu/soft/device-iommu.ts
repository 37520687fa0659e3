// The IOMMU as a device worker sees it: translations, acknowledgements, sleep. It never blocks the
// main thread and never writes a page table, except for the dirty flags.
//
// Rule for whoever uses it: a translation is valid until the next `poll`, `park` or `sleep`; call
// `poll` at least every 4 KiB of work.
import { iovaEnd } from '../../base/units.js';
import { type FaultReason, faultReasons } from '../types.js';
import {
  generationWord,
  type IommuHandles,
  seenWord,
  stateAsleep,
  stateRunning,
  stateWord,
  wakeWord,
} from './control.js';
import {
  entryDirty,
  entryLarge,
  entryRead,
  entryValid,
  entryWrite,
  linkMask,
  linkShort,
  linkTracked,
  pageBytes,
  pageShift,
  rightsMask,
  unreachableRead,
  unreachableWrite,
} from './entry.js';
import { entryIndex, type TableShape, tableShape } from './table-shape.js';

/** The negative number that stands for a reason. */
export function faultNumber(reason: FaultReason): number {
  return -faultReasons.indexOf(reason) - 1;
}

/** The reason behind a negative result of `translate`. */
export function faultReasonOf(result: number): FaultReason {
  return faultReasons[-result - 1]!;
}

// Copies: an imported binding costs `translate` more bytecode than a local one.
const addressEnd = iovaEnd;
const short = linkShort;
const below = linkMask;
const readable = entryRead;
const writable = entryWrite;

const notAttached = faultNumber('not attached');
const notMapped = faultNumber('not mapped');
const noPermission = faultNumber('no permission');
const notReachable = faultNumber('not reachable');
const revoked = faultNumber('revoked');

export class DeviceIommu {
  readonly #words: Int32Array;
  readonly #roots: Uint32Array;
  readonly #control: Int32Array;
  readonly #shape: TableShape;
  #seen = 0;
  #wakeSeen: number;

  /** Publishes running: from now on the main thread waits for `poll`. */
  constructor(handles: IommuHandles) {
    this.#words = new Int32Array(handles.tables);
    this.#roots = new Uint32Array(handles.pasids);
    this.#control = new Int32Array(handles.control);
    this.#shape = tableShape(handles.smallestPage ?? pageBytes);
    this.#wakeSeen = Atomics.load(this.#control, wakeWord);
    this.resume();
  }

  /**
   * Translates one address for one access. The result holds to the end of its smallest page.
   *
   * @param pasid - undefined: the plain requester id.
   * @param iova - Any number; what is no address below 2^48 is not mapped.
   * @returns Byte offset into the arena, or the negative index into `faultReasons`, minus one.
   */
  translate(pasid: number | undefined, iova: number, access: 'read' | 'write'): number {
    // Only the walk that succeeds on a page of 4 KiB, untracked. Kept so small (302 bytes of
    // bytecode; the limit is 460) that V8 inlines it into its callers: three times as fast.
    if (iova >= 0 && iova < addressEnd && pasid !== 0) {
      const words = this.#words;
      const high = (iova / 0x4000_0000) | 0;
      const low = iova & 0x3fff_ffff;
      let entry = words[(this.#roots[pasid ?? 0] ?? 0) | (high >>> 9)]!;
      if ((entry & short) !== 0) {
        entry = words[(entry & below) | (high & 511)]!;
        if ((entry & short) !== 0) {
          entry = words[(entry & below) | (low >>> 21)]!;
          if ((entry & short) !== 0) {
            entry = words[(entry & below) | ((low >>> 12) & 511)]!;
            if ((entry & (access === 'write' ? writable : readable)) !== 0) {
              return (entry >>> 8) * 4096 + (low & 4095);
            }
          }
        }
      }
    }
    return this.#translateAny(pasid, iova, access);
  }

  /** Acknowledges invalidations. The caller holds no translation. Cheap enough for every 4 KiB. */
  poll(): void {
    const generation = Atomics.load(this.#control, generationWord);
    if (generation !== this.#seen) this.#acknowledge(generation);
  }

  /** Publishes asleep: the main thread waits for nothing. No translation before `resume`. */
  park(): void {
    Atomics.store(this.#control, stateWord, stateAsleep);
    // Whoever saw `running` before that store is waiting for this word.
    this.poll();
  }

  /** Publishes running, then reads the generation: older translations cannot be made any more. */
  resume(): void {
    Atomics.store(this.#control, stateWord, stateRunning);
    this.#acknowledge(Atomics.load(this.#control, generationWord));
  }

  /**
   * Sleeps until a wake-up that came after the last return from here, or until the time is over.
   *
   * @param timeoutMs - Infinity: as long as it takes.
   */
  sleep(timeoutMs: number): void {
    this.park();
    Atomics.wait(this.#control, wakeWord, this.#wakeSeen, timeoutMs);
    this.#wakeSeen = Atomics.load(this.#control, wakeWord);
    this.resume();
  }

  /** Any smallest page, large leaves, tracked writes, and every refusal with its reason. */
  #translateAny(pasid: number | undefined, iova: number, access: 'read' | 'write'): number {
    const slot = pasid === undefined ? 0 : pasid;
    if (slot === 0 && pasid !== undefined) return notAttached;
    const root = this.#roots[slot];
    if (root === undefined || root === 0) return notAttached;
    if (!(iova >= 0 && iova < iovaEnd)) return notMapped;
    const words = this.#words;
    const { shifts, spans, rootLevel, smallestPage } = this.#shape;
    let level = rootLevel;
    let at = root | entryIndex(iova, shifts[level]!);
    let entry = words[at]!;
    const isTracked = access === 'write' && (entry & linkTracked) !== 0;
    while (level > 0 && (entry & (entryValid | entryLarge)) === entryValid) {
      level -= 1;
      at = (entry & linkMask) | entryIndex(iova, shifts[level]!);
      entry = words[at]!;
    }
    if ((entry & (access === 'write' ? entryWrite : entryRead)) === 0) {
      return refusalOf(entry, access);
    }
    if (isTracked && !this.#markDirty(at, entry)) return this.#translateAny(pasid, iova, access);
    const page = entry >>> pageShift;
    // What is below the leaf's level is at most 30 bits.
    return page * smallestPage + (iova & (spans[level]! - 1));
  }

  #acknowledge(generation: number): void {
    this.#seen = generation;
    Atomics.store(this.#control, seenWord, generation);
    Atomics.notify(this.#control, seenWord);
  }

  /** False when the entry is no longer the one that was read. */
  #markDirty(at: number, entry: number): boolean {
    if ((entry & entryDirty) !== 0) return true;
    // A plain store could bring a cleared entry back.
    return Atomics.compareExchange(this.#words, at, entry, entry | entryDirty) === entry;
  }
}

/** Why a leaf does not serve an access. */
function refusalOf(entry: number, access: 'read' | 'write'): number {
  if ((entry & entryValid) === 0) return notMapped;
  if ((entry & rightsMask) === 0) return revoked;
  const isAllowed = (entry & (access === 'write' ? unreachableWrite : unreachableRead)) !== 0;
  return isAllowed ? notReachable : noPermission;
}
