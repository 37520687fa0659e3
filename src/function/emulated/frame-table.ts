// What memory stands behind each frame: the scratch pages of the function, which only device and
// broker touch, or those of a window. Owns the scratch pages.
import { assert, LessorError } from '../../base/errors.js';
import { hex } from '../../base/units.js';
import type { Words } from '../../device/words.js';
import type { FramePlace, WindowFrame } from '../frame-map.js';
import type { ControlBlock } from './control-block.js';
import type { WorkerLink } from './worker-link.js';

export interface FrameTableParts {
  readonly control: ControlBlock;
  readonly link: WorkerLink;
  readonly view: Words;
  readonly pageBytes: number;
  readonly places: readonly FramePlace[];
  /** Byte offset of the scratch pages in the arena: all frames in table order. */
  readonly scratchStart: number;
}

export class FrameTable {
  readonly #parts: FrameTableParts;
  readonly #scratch: readonly number[];
  readonly #holders = new Map<FramePlace, object>();

  constructor(parts: FrameTableParts) {
    this.#parts = parts;
    const scratch: number[] = [];
    let at = parts.scratchStart;
    for (const place of parts.places) {
      scratch.push(at);
      this.#point(place, at);
      at += place.lengthBytes;
    }
    this.#scratch = scratch;
  }

  /** Where the device sees a frame now: byte offset in the arena. */
  arenaOffsetOf(place: FramePlace): number {
    return Atomics.load(this.#parts.control.frames, place.index) * this.#parts.pageBytes;
  }

  /**
   * Reserves frames for one holder until `give`.
   *
   * @throws LessorError `INVALID_ARGUMENT` when another window has one of them.
   */
  take(frames: readonly WindowFrame[], holder: object): void {
    const held = frames.find((frame) => this.#holders.has(frame.place));
    if (held) {
      const where = `${hex(held.place.offsetBytes)} of region ${held.place.region}`;
      throw new LessorError('INVALID_ARGUMENT', `another window has the frame at ${where}`);
    }
    for (const frame of frames) this.#holders.set(frame.place, holder);
  }

  give(frames: readonly WindowFrame[], holder: object): void {
    for (const frame of frames) {
      if (this.#holders.get(frame.place) === holder) this.#holders.delete(frame.place);
    }
  }

  /** Shows the device a window at `windowStart` in the arena; resolves when it sees it. */
  async join(frames: readonly WindowFrame[], windowStart: number): Promise<void> {
    for (const frame of frames) this.#point(frame.place, windowStart + frame.windowOffsetBytes);
    const joined = this.#parts.link.barrier();
    // A sleeping device has not yet said in this window that it must be woken.
    this.#parts.link.wake();
    await joined;
    // So that the device finds all zeros when it comes back to scratch. A frame that went back
    // meanwhile is in the device's use again.
    for (const { place } of frames) {
      const at = this.#scratch[place.index]!;
      if (this.arenaOffsetOf(place) !== at) this.#parts.view.clear(at, place.lengthBytes);
    }
  }

  /** Shows the device scratch again; resolves when it can no longer use the window's range. */
  async part(frames: readonly WindowFrame[]): Promise<void> {
    for (const { place } of frames) this.#point(place, this.#scratch[place.index]!);
    await this.#parts.link.barrier();
  }

  #point(place: FramePlace, at: number): void {
    assert(at % this.#parts.pageBytes === 0, 'frame memory is not page-aligned');
    Atomics.store(this.#parts.control.frames, place.index, at / this.#parts.pageBytes);
  }
}
