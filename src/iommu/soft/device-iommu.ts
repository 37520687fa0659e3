// The IOMMU as a device worker sees it: translations, acknowledgements, sleep. It never blocks the
// main thread and never writes a page table, except for the accessed and dirty flags.
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
  trackWord,
  wakeWord,
} from './control.js';
import {
  entryAccessed,
  entryDirty,
  entryLarge,
  entryRead,
  entryUnreachable,
  entryValid,
  entryWrite,
  loadsStayInOrder,
  orderedLoad,
} from './entry.js';

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
const link = entryValid;
const linkMask = entryValid | entryLarge;
const readable = entryValid | entryRead;
const writable = entryValid | entryWrite;
const unreachable = entryUnreachable;
const track = trackWord;

const notAttached = faultNumber('not attached');
const notMapped = faultNumber('not mapped');
const noPermission = faultNumber('no permission');
const notReachable = faultNumber('not reachable');

export class DeviceIommu {
  readonly #words: Uint32Array;
  readonly #roots: Uint32Array;
  readonly #control: Int32Array;
  #seen = 0;
  #wakeSeen: number;

  /** Publishes running: from now on the main thread waits for `poll`. */
  constructor(handles: IommuHandles) {
    this.#words = new Uint32Array(handles.tables);
    this.#roots = new Uint32Array(handles.pasids);
    this.#control = new Int32Array(handles.control);
    this.#wakeSeen = Atomics.load(this.#control, wakeWord);
    this.resume();
  }

  /**
   * Translates one address for one access. The result holds to the end of its 4 KiB page.
   *
   * @param pasid - undefined: the plain requester id.
   * @param iova - Any number; what is no address below 2^48 is not mapped.
   * @returns Byte offset into the arena, or the negative index into `faultReasons`, minus one.
   */
  translate(pasid: number | undefined, iova: number, access: 'read' | 'write'): number {
    // Only the walk that succeeds on a small page. Kept so small that V8 inlines it into its
    // callers (460 bytes of bytecode with what it inlines): that makes it three times as fast.
    if (loadsStayInOrder && iova >= 0 && iova < addressEnd && pasid !== 0) {
      const words = this.#words;
      const high = (iova / 0x4000_0000) | 0;
      const low = iova & 0x3fff_ffff;
      let at = ((this.#roots[pasid ?? 0] ?? 0) << 10) | ((high >>> 9) << 1);
      if ((words[at + 1]! & linkMask) === link) {
        at = (words[at]! << 10) | ((high & 511) << 1);
        if ((words[at + 1]! & linkMask) === link) {
          at = (words[at]! << 10) | ((low >>> 21) << 1);
          const linkFlags = words[at + 1]!;
          const node = words[at]!;
          // Unchanged: a child may become a large leaf, whose low word is no node.
          if ((linkFlags & linkMask) === link && words[at + 1] === linkFlags) {
            at = (node << 10) | (((low >>> 12) & 511) << 1);
            const flags = words[at + 1]!;
            const page = words[at]!;
            const wanted = access === 'write' ? writable : readable;
            if (
              (flags & (wanted | unreachable)) === wanted &&
              words[at + 1] === flags &&
              this.#control[track] === 0
            ) {
              return page * 4096 + (low & 4095);
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

  /** Large leaves, tracked use, and every refusal with its reason. */
  #translateAny(pasid: number | undefined, iova: number, access: 'read' | 'write'): number {
    const slot = pasid === undefined ? 0 : pasid;
    if (slot === 0 && pasid !== undefined) return notAttached;
    const root = this.#roots[slot];
    if (root === undefined || root === 0) return notAttached;
    if (!(iova >= 0 && iova < iovaEnd)) return notMapped;
    const words = this.#words;
    const high = (iova / 0x4000_0000) | 0;
    const low = iova & 0x3fff_ffff;
    let at = (root << 10) | ((high >>> 9) << 1);
    let flags = orderedLoad(words, at + 1);
    if ((flags & entryValid) === 0) return notMapped;
    at = (orderedLoad(words, at) << 10) | ((high & 511) << 1);
    flags = orderedLoad(words, at + 1);
    if ((flags & entryLarge) !== 0) return refusalOf(flags, access);
    if ((flags & entryValid) === 0) return notMapped;
    at = (orderedLoad(words, at) << 10) | ((low >>> 21) << 1);
    flags = orderedLoad(words, at + 1);
    let page = orderedLoad(words, at);
    // The entry changed between its two words: look again from the top.
    if (orderedLoad(words, at + 1) !== flags) return this.#translateAny(pasid, iova, access);
    if ((flags & entryLarge) !== 0) {
      page += (low >>> 12) & 511;
    } else {
      if ((flags & entryValid) === 0) return notMapped;
      at = (page << 10) | (((low >>> 12) & 511) << 1);
      flags = orderedLoad(words, at + 1);
      page = orderedLoad(words, at);
      if (orderedLoad(words, at + 1) !== flags) return this.#translateAny(pasid, iova, access);
    }
    const wanted = entryValid | (access === 'write' ? entryWrite : entryRead);
    if ((flags & (wanted | entryUnreachable)) !== wanted) return refusalOf(flags, access);
    if (this.#control[trackWord] !== 0 && !this.#track(at, flags, access)) {
      return this.#translateAny(pasid, iova, access);
    }
    return page * 4096 + (low & 4095);
  }

  #acknowledge(generation: number): void {
    this.#seen = generation;
    Atomics.store(this.#control, seenWord, generation);
    Atomics.notify(this.#control, seenWord);
  }

  /** Sets accessed and dirty; false when the entry is no longer the one that was read. */
  #track(at: number, flags: number, access: 'read' | 'write'): boolean {
    const used = (flags | entryAccessed | (access === 'write' ? entryDirty : 0)) >>> 0;
    // A plain store could bring a cleared entry back.
    return used === flags || Atomics.compareExchange(this.#words, at + 1, flags, used) === flags;
  }
}

/** Why a leaf with these flags does not serve an access. */
function refusalOf(flags: number, access: 'read' | 'write'): number {
  if ((flags & entryValid) === 0) return notMapped;
  if ((flags & (access === 'write' ? entryWrite : entryRead)) === 0) return noPermission;
  return notReachable;
}
