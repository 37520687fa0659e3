// Which pages of a part of the arena are free. Windows have one part, client memory the other.
import { assert } from '../../base/errors.js';
import { isAligned, roundDown, roundUp } from '../../base/units.js';
import { pageBytes } from './entry.js';

/** How one arena is divided. Both parts begin and end at multiples of 2 MiB. */
export interface ArenaLayout {
  /** [0, windowBytes) is for windows, the rest for client memory. */
  readonly windowBytes: number;
}

export interface AllocateOptions {
  readonly alignBytes?: number;
  /** Search from the upper end: small pieces there do not break up room for large ones. */
  readonly fromEnd?: boolean;
}

export class ArenaPages {
  /** Free runs in ascending order, never touching each other; ends outside. */
  readonly #runs: { start: number; end: number }[];
  readonly #start: number;
  readonly #end: number;
  #freeBytes: number;

  /** @param startBytes - First byte that may be given out. @param endBytes - One past the last. */
  constructor(startBytes: number, endBytes: number) {
    assert(isAligned(startBytes, pageBytes) && isAligned(endBytes, pageBytes), 'arena part');
    this.#start = startBytes;
    this.#end = endBytes;
    this.#freeBytes = endBytes - startBytes;
    this.#runs = startBytes < endBytes ? [{ start: startBytes, end: endBytes }] : [];
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }

  /**
   * Takes consecutive pages.
   *
   * @param lengthBytes - More than 0; rounded up to whole pages.
   * @returns Byte offset in the arena, or undefined when no free run is long enough.
   */
  allocate(lengthBytes: number, options: AllocateOptions = {}): number | undefined {
    assert(lengthBytes > 0, 'allocation without bytes');
    const wanted = roundUp(lengthBytes, pageBytes);
    const alignBytes = options.alignBytes ?? pageBytes;
    const count = this.#runs.length;
    for (let step = 0; step < count; step++) {
      const index = options.fromEnd ? count - 1 - step : step;
      const run = this.#runs[index]!;
      const at = options.fromEnd
        ? roundDown(run.end - wanted, alignBytes)
        : roundUp(run.start, alignBytes);
      if (at < run.start || at + wanted > run.end) continue;
      this.#take(index, at, at + wanted);
      return at;
    }
    return undefined;
  }

  /** Returns what `allocate` gave, with the same length. */
  free(offsetBytes: number, lengthBytes: number): void {
    const end = offsetBytes + roundUp(lengthBytes, pageBytes);
    assert(offsetBytes >= this.#start && end <= this.#end, 'free outside the arena part');
    const index = this.#firstFrom(offsetBytes);
    const before = this.#runs[index - 1];
    const after = this.#runs[index];
    assert(before === undefined || before.end <= offsetBytes, 'free of free pages');
    assert(after === undefined || after.start >= end, 'free of free pages');
    this.#freeBytes += end - offsetBytes;
    const joinsBefore = before?.end === offsetBytes;
    const joinsAfter = after?.start === end;
    if (joinsBefore && joinsAfter) {
      before.end = after.end;
      this.#runs.splice(index, 1);
    } else if (joinsBefore) before.end = end;
    else if (joinsAfter) after.start = offsetBytes;
    else this.#runs.splice(index, 0, { start: offsetBytes, end });
  }

  #take(index: number, start: number, end: number): void {
    const run = this.#runs[index]!;
    this.#freeBytes -= end - start;
    const rest = { start: end, end: run.end };
    if (run.start === start) {
      if (rest.start === rest.end) this.#runs.splice(index, 1);
      else run.start = end;
      return;
    }
    run.end = start;
    if (rest.start < rest.end) this.#runs.splice(index + 1, 0, rest);
  }

  /** Index of the first run that starts at or above an offset. */
  #firstFrom(offsetBytes: number): number {
    let low = 0;
    let high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#runs[middle]!.start < offsetBytes) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
