// The worker's side of the frame table: live words of every frame that the device asked for.
import { assert } from '../../base/errors.js';
import type { Frame } from '../../device/types.js';
import { type FramePlace, frameAt } from '../frame-map.js';
import type { ControlBlock } from './control-block.js';

interface LiveFrame extends Frame {
  base: number;
  readonly place: FramePlace;
  readonly offsetWords: number;
}

export class WorkerFrames {
  readonly #control: ControlBlock;
  readonly #u32: Uint32Array;
  readonly #places: readonly FramePlace[];
  readonly #pageWords: number;
  readonly #live: LiveFrame[] = [];

  constructor(
    control: ControlBlock,
    u32: Uint32Array,
    places: readonly FramePlace[],
    pageBytes: number,
  ) {
    this.#control = control;
    this.#u32 = u32;
    this.#places = places;
    this.#pageWords = pageBytes / 4;
  }

  /** The frame behind a byte of a region; the same object lives on through every swap. */
  frame(region: number, offsetBytes: number): Frame {
    const place = frameAt(this.#places, region, offsetBytes);
    assert(place, `region ${region} has no frame at ${offsetBytes}`);
    const offsetWords = (offsetBytes - place.offsetBytes) / 4;
    const live: LiveFrame = { u32: this.#u32, base: 0, place, offsetWords };
    this.#locate(live);
    this.#live.push(live);
    return live;
  }

  /** Follows the table. Only between steps: a device may hold a base for one step. */
  refresh(): void {
    for (const live of this.#live) this.#locate(live);
  }

  #locate(live: LiveFrame): void {
    const page = Atomics.load(this.#control.frames, live.place.index);
    live.base = page * this.#pageWords + live.offsetWords;
  }
}
