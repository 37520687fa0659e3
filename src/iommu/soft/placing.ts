// Placing a part of a source piece by piece: what another area of it has placed is shared, the
// rest comes out of the file, or out of the memory of the process.
import { assert } from '../../base/errors.js';
import type { Fd } from '../../os/fd.js';
import type { Area } from './area.js';
import type { SoftContext } from './context.js';
import { pageBytes } from './entry.js';
import { fail } from './objects.js';
import { type Pages, Pin, type Run } from './pages.js';

export class Placing {
  /** Held so far. */
  readonly pins: Pin[] = [];
  /** The same in the source's bytes, ascending and gapless. */
  readonly runs: Run[] = [];
  readonly #context: SoftContext;
  readonly #area: Area;
  readonly #pages: Pages;
  readonly #call: string;

  constructor(context: SoftContext, area: Area, pages: Pages, call: string) {
    this.#context = context;
    this.#area = area;
    this.#pages = pages;
    this.#call = call;
  }

  /** What fails leaves pins behind, for the caller to give up. @throws OsError, LessorError */
  placeAll(from: number, to: number): void {
    const others = this.#pages.areaCount > 1 ? this.#placedByOthers(from, to) : [];
    let at = from;
    for (const run of others) {
      const end = Math.min(to, run.startBytes + run.lengthBytes);
      if (end <= at) continue;
      if (run.startBytes > at) this.#place(at, run.startBytes);
      at = Math.max(at, run.startBytes);
      this.#share(run, at, end);
      at = end;
    }
    if (at < to) this.#place(at, to);
  }

  /** Runs of other areas in [from, to), by where they start; they may overlap. */
  #placedByOthers(from: number, to: number): Run[] {
    const found: Run[] = [];
    for (const other of this.#pages.areas) {
      if (other === this.#area || other.extents === undefined) continue;
      for (const run of other.extents) {
        if (run.startBytes < to && run.startBytes + run.lengthBytes > from) found.push(run);
      }
    }
    return found.sort((one, two) => one.startBytes - two.startBytes);
  }

  #share(run: Run, at: number, end: number): void {
    const extent = run.extent ?? run;
    const user = this.#newUser();
    user.extents = this.#context.extents.share([extent], user.account, user);
    this.pins.push(user);
    const offsetBytes = run.offsetBytes + (at - run.startBytes);
    this.runs.push({ startBytes: at, offsetBytes, lengthBytes: end - at, extent });
  }

  #place(at: number, end: number): void {
    const { kind, file } = this.#pages;
    if (kind === 'user') {
      this.#placeUser(at, end);
      return;
    }
    if (kind === 'no memory') throw fail('EINVAL', this.#call, 'a file without memory');
    assert(file !== undefined, 'what no area has placed has a file');
    this.#placeFile(at, file.fd, at, end - at);
  }

  #placeUser(from: number, to: number): void {
    const { userMemory } = this.#context;
    const pieces = userMemory?.resolve(BigInt(from), to - from, this.#pages.isWritable);
    if (pieces === undefined) throw fail('EFAULT', this.#call, 'no such memory');
    let at = from;
    for (const { fd, offsetBytes, lengthBytes } of pieces) {
      assert(lengthBytes > 0 && lengthBytes % pageBytes === 0, 'pieces are whole pages');
      this.#placeFile(at, fd, offsetBytes, lengthBytes);
      at += lengthBytes;
    }
    assert(at === to, 'pieces cover what was asked for');
  }

  /** @param at - In the source. @param offsetBytes - The same byte in the file. */
  #placeFile(at: number, fd: Fd, offsetBytes: number, lengthBytes: number): void {
    const { extents } = this.#context;
    const user = this.#newUser();
    const { isWritable } = this.#pages;
    user.extents = extents.acquire(fd, offsetBytes, lengthBytes, isWritable, user.account, user);
    this.pins.push(user);
    for (const extent of user.extents) {
      const start = Math.max(offsetBytes, extent.startBytes);
      const end = Math.min(offsetBytes + lengthBytes, extent.startBytes + extent.lengthBytes);
      this.runs.push({
        startBytes: at + (start - offsetBytes),
        offsetBytes: extent.offsetBytes + (start - extent.startBytes),
        lengthBytes: end - start,
        extent,
      });
    }
  }

  #newUser(): Pin {
    return new Pin(this.#area, this.#area.account);
  }
}
