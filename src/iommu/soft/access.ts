// Software that reads and writes through an IOAS, without a device: an access object.
// @see linux drivers/iommu/iommufd/device.c iommufd_access_rw, iommufd_access_pin_pages
import { IOMMU_IOAS_MAP_READABLE, IOMMU_IOAS_MAP_WRITEABLE } from '../../uapi/iommufd-ioas.js';
import { u64Max } from '../requests.js';
import type { Area } from './area.js';
import { findIoas, type SoftContext } from './context.js';
import { pageBytes } from './entry.js';
import { type Ioas, type IoasAccess, minimum } from './ioas.js';
import { fail } from './objects.js';
import { pin, unpin } from './pin.js';

const call = 'iommufd_access';
const page = BigInt(pageBytes);

export interface SoftAccessOptions {
  /** Pins, which raises the alignment of the IOAS to a page. */
  readonly needsPins: boolean;
  /** Must let go of what it pinned in the range, or the unmap fails. */
  readonly onUnmap: (iova: bigint, length: bigint) => void;
}

/** The part of an area that a range covers. */
interface Part {
  readonly area: Area;
  readonly start: bigint;
  readonly length: bigint;
}

export class SoftAccess implements IoasAccess {
  readonly kind = 'access';
  readonly id: number;
  /** Whoever made it; DESTROY is refused until `close`. */
  useCount = 1;
  readonly #context: SoftContext;
  readonly #options: SoftAccessOptions;
  #ioas: Ioas | undefined;

  constructor(context: SoftContext, options: SoftAccessOptions) {
    this.#context = context;
    this.#options = options;
    this.id = context.objects.add(this);
    context.holders.add(this);
  }

  get pageBytes(): number {
    return this.#options.needsPins ? pageBytes : 1;
  }

  onUnmap(iova: bigint, length: bigint): void {
    this.#options.onUnmap(iova, length);
  }

  /** @throws OsError `EINVAL` when attached, `ENOENT`, `EADDRINUSE` */
  attach(ioasId: number): void {
    if (this.#ioas !== undefined) throw fail('EINVAL', call, 'attached already');
    this.#change(findIoas(this.#context, ioasId, call));
  }

  /** A failure changes nothing. @throws OsError `ENOENT`, `EADDRINUSE` */
  replace(ioasId: number): void {
    if (this.#ioas === undefined) throw fail('ENOENT', call, 'not attached');
    this.#change(findIoas(this.#context, ioasId, call));
  }

  /** What is pinned must be let go of in `onUnmap`. */
  detach(): void {
    if (this.#ioas !== undefined) this.#change(undefined);
  }

  /**
   * Copies between a buffer and the memory behind a range. What comes before the place of an error
   * has been copied.
   *
   * @throws OsError `EINVAL`, `EOVERFLOW`, `ENOENT`, `EPERM`, `EFAULT`
   */
  copy(iova: bigint, data: Uint8Array, direction: 'read' | 'write'): void {
    const ioas = this.#checkRange(iova, BigInt(data.length));
    let done = 0;
    for (const { area, start, length } of this.#parts(ioas, iova, BigInt(data.length))) {
      if (ioas.uses.get(area)?.isEnding === true) throw fail('EINVAL', call, 'an unmap waits');
      checkProtection(area, direction);
      this.#copyPart(area, start, data.subarray(done, done + Number(length)), direction);
      done += Number(length);
    }
    if (done < data.length) throw fail('ENOENT', call, 'nothing is mapped there');
  }

  /**
   * Keeps memory where it is, until `unpin` of the same range. All or nothing.
   *
   * @throws OsError `EINVAL`, `EOVERFLOW`, `ENOENT`, `EPERM`, `EFAULT`, `ENOMEM`
   */
  pin(iova: bigint, length: bigint, direction: 'read' | 'write'): void {
    if (!this.#options.needsPins) throw fail('EINVAL', call, 'made without pins');
    const ioas = this.#checkRange(iova, length);
    const pinned: Area[] = [];
    let end = iova;
    try {
      for (const part of this.#parts(ioas, iova, length)) {
        const isEnding = ioas.uses.get(part.area)?.isEnding === true;
        const isLast = part.start + part.length === iova + length;
        if (isEnding || !isAligned(part, isLast)) throw fail('EINVAL', call, 'off the page');
        checkProtection(part.area, direction);
        pin(this.#context, part.area, call);
        const use = ioas.uses.get(part.area) ?? { count: 0, lockCount: 0, isEnding: false };
        use.count += 1;
        ioas.uses.set(part.area, use);
        pinned.push(part.area);
        end = part.start + part.length;
      }
      if (end < iova + length) throw fail('ENOENT', call, 'nothing is mapped there');
    } catch (error) {
      for (const area of pinned) this.#release(ioas, area);
      throw error;
    }
  }

  /** Undoes one `pin` of exactly this range. */
  unpin(iova: bigint, length: bigint): void {
    const ioas = this.#ioas;
    if (ioas === undefined) return;
    for (const { area } of [...this.#parts(ioas, iova, length)]) this.#release(ioas, area);
  }

  close(): void {
    if (this.#context.objects.get(this.id) !== this) return;
    this.detach();
    this.#context.objects.remove(this.id);
    this.#context.dropHolder(this);
  }

  destroy(): void {
    this.detach();
  }

  #change(next: Ioas | undefined): void {
    const old = this.#ioas;
    if (old === next) return;
    if (next !== undefined) {
      next.accesses.add(this);
      try {
        next.updateAlignment(call);
      } catch (error) {
        next.accesses.delete(this);
        throw error;
      }
    }
    if (old !== undefined) {
      this.onUnmap(0n, u64Max);
      old.accesses.delete(this);
      old.updateAlignment(call);
    }
    this.#ioas = next;
  }

  #checkRange(iova: bigint, length: bigint): Ioas {
    if (length === 0n) throw fail('EINVAL', call, 'length 0');
    if (iova + length - 1n > u64Max) throw fail('EOVERFLOW', call, 'iova + length');
    if (this.#ioas === undefined) throw fail('ENOENT', call, 'not attached');
    return this.#ioas;
  }

  /** Areas that follow each other, up to the first hole. */
  *#parts(ioas: Ioas, iova: bigint, length: bigint): Generator<Part> {
    const last = iova + length - 1n;
    for (let start = iova; start <= last; ) {
      const area = ioas.areas.firstMeeting(start, start);
      if (area === undefined) return;
      const end = minimum(area.last, last) + 1n;
      yield { area, start, length: end - start };
      start = end;
    }
  }

  #copyPart(area: Area, iova: bigint, data: Uint8Array, direction: 'read' | 'write'): void {
    const isPlacedHere = pin(this.#context, area, call);
    try {
      const from = Number(BigInt(area.sourceStart) + iova - area.start);
      for (const { startBytes, lengthBytes, offsetBytes } of area.extents!) {
        const first = Math.max(from, startBytes);
        const end = Math.min(from + data.length, startBytes + lengthBytes);
        if (first >= end) continue;
        const arena = this.#context.extents.bytes(offsetBytes + first - startBytes, end - first);
        const part = data.subarray(first - from, end - from);
        if (direction === 'read') part.set(arena);
        else arena.set(part);
      }
    } finally {
      if (isPlacedHere) unpin(this.#context, area);
    }
  }

  #release(ioas: Ioas, area: Area): void {
    const use = ioas.uses.get(area);
    if (use === undefined) return;
    use.count -= 1;
    if (use.count > 0) return;
    ioas.uses.delete(area);
    // Placed for this alone, and found again by whoever comes next.
    if (ioas.domains.length === 0 && area.pages?.canPlaceAgain === true) unpin(this.#context, area);
  }
}

/** @throws OsError `EPERM`, `EINVAL` for what no program can reach */
function checkProtection(area: Area, direction: 'read' | 'write'): void {
  const wanted = direction === 'write' ? IOMMU_IOAS_MAP_WRITEABLE : IOMMU_IOAS_MAP_READABLE;
  if ((area.protection & wanted) === 0) throw fail('EPERM', call, `no ${direction}`);
  if (area.isUnreachable || area.pages?.kind === 'window') {
    throw fail('EINVAL', call, 'memory for devices alone');
  }
}

/** Whether a part begins on a page of its source, and ends on one unless the range ends there. */
function isAligned({ area, start, length }: Part, isLast: boolean): boolean {
  const from = BigInt(area.sourceStart) + start - area.start;
  return from % page === 0n && (isLast || (from + length) % page === 0n);
}
