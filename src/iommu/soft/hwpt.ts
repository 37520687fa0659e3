// A paging HWPT: the page table through which devices see an IOAS, kept equal to its areas.
import { assert, isLessorError } from '../../base/errors.js';
import { iovaEnd } from '../../base/units.js';
import { IOMMU_IOAS_MAP_READABLE, IOMMU_IOAS_MAP_WRITEABLE } from '../../uapi/iommufd.js';
import { type IovaRange, u64Max } from '../requests.js';
import type { DmaAccount } from '../types.js';
import type { Area } from './area.js';
import { releaseWhenSettled, type SoftContext, unpinWhenSettled } from './context.js';
import { entryRead, entryUnreachable, entryWrite, pageBytes } from './entry.js';
import type { FaultObject } from './fault-object.js';
import type { Ioas } from './ioas.js';
import type { NestedHwpt } from './nested-hwpt.js';
import { TableCharge } from './node-pool.js';
import { PageTable } from './page-table.js';
import { pin, unpin } from './pin.js';
import { pinError } from './pin-error.js';
import type { TableFormat } from './traits.js';

export interface HwptOptions {
  readonly format: TableFormat;
  /** May be attached to PASIDs, or beside them. */
  readonly isPasid: boolean;
  /** Made by an attach to the IOAS, gone with its last device. */
  readonly isAuto: boolean;
  /** Nested HWPTs may stand in front of it. */
  readonly isNestParent: boolean;
}

/** What a device can be attached to. */
export type AnyHwpt = Hwpt | NestedHwpt;

export class Hwpt {
  readonly kind = 'hwpt';
  id = 0;
  readonly ioas: Ioas;
  readonly format: TableFormat;
  readonly isPasid: boolean;
  readonly isAuto: boolean;
  readonly isNestParent: boolean;
  /** Where page requests go. */
  fault: FaultObject | undefined = undefined;
  /** Devices by slot, and nested HWPTs. */
  useCount = 0;
  readonly #context: SoftContext;
  readonly #table: PageTable;
  readonly #charges = new Map<DmaAccount, { readonly charge: TableCharge; areaCount: number }>();

  /** An empty table; `join` fills it. @throws OsError `ENOMEM` */
  constructor(context: SoftContext, ioas: Ioas, options: HwptOptions, call: string) {
    assert(options.format.aperture.last < BigInt(iovaEnd), 'an aperture that tables reach');
    this.#context = context;
    this.ioas = ioas;
    this.format = options.format;
    this.isPasid = options.isPasid;
    this.isAuto = options.isAuto;
    this.isNestParent = options.isNestParent;
    try {
      this.#table = new PageTable(context.pool, options.format.leafBytes);
    } catch (error) {
      throw pinError(error, call);
    }
  }

  /** Smallest page of its table. */
  get pageBytes(): number {
    return this.format.pageBytes;
  }

  /** Whose areas it shows. */
  get paging(): Hwpt {
    return this;
  }

  /**
   * Joins the IOAS: raises its alignment, reserves what is outside the aperture, and maps every
   * area, placing its memory. All or nothing. No device may reach the table before.
   *
   * @throws OsError `EINVAL`, `EADDRINUSE`, `ENOMEM`, `EFAULT`
   */
  join(call: string): void {
    const { ioas, format } = this;
    ioas.checkAlignment(format.pageBytes, call);
    ioas.reserve(outside(format.aperture), this, call);
    const pinned: Area[] = [];
    try {
      for (const area of ioas.areas) {
        if (pin(this.#context, area, call)) pinned.push(area);
        this.mapArea(area, call);
      }
    } catch (error) {
      ioas.unreserve(this);
      this.#table.unmap(0, iovaEnd);
      for (const area of pinned) unpin(this.#context, area);
      throw error;
    }
    ioas.domains.push(this);
    ioas.updateAlignment(call);
  }

  get root(): number {
    return this.#table.root;
  }

  get #leafMax(): number {
    return this.ioas.hasHugePages ? Number.POSITIVE_INFINITY : pageBytes;
  }

  /** All or nothing; the caller has its retired nodes acknowledged. @throws OsError `ENOMEM` */
  mapArea(area: Area, call: string): void {
    const flags = entryFlags(area);
    const start = area.at;
    const lengthBytes = area.end - start;
    const charge = this.#chargeOf(area.account);
    const leafMax = this.#leafMax;
    let mappedBytes = 0;
    try {
      if (area.isUnreachable || area.isRevoked) {
        this.#table.map(start, lengthBytes, 0, flags, charge, leafMax);
      } else {
        const sourceStart = Number(area.sourceStart);
        for (const extent of area.extents!) {
          // The part of this extent that the area covers.
          const from = sourceStart + mappedBytes - extent.startBytes;
          const bytes = Math.min(lengthBytes - mappedBytes, extent.lengthBytes - from);
          const arenaPage = (extent.offsetBytes + from) / this.format.leafBytes;
          this.#table.map(start + mappedBytes, bytes, arenaPage, flags, charge, leafMax);
          mappedBytes += bytes;
        }
      }
    } catch (error) {
      if (mappedBytes > 0) this.#table.unmap(start, mappedBytes);
      this.releaseCharge(area.account);
      throw pinError(error, call);
    }
  }

  /** The caller releases nodes and the charge once this is acknowledged. */
  unmapArea(area: Area): void {
    this.#table.unmap(area.at, area.end - area.at);
  }

  /**
   * As `unmapArea` for an area whose source is revoked: DMA there faults as such, or as not mapped
   * where no table pages are left to say so.
   */
  revokeArea(area: Area): void {
    this.unmapArea(area);
    const charge = area.account && this.#charges.get(area.account)?.charge;
    try {
      const lengthBytes = area.end - area.at;
      this.#table.map(area.at, lengthBytes, 0, entryFlags(area), charge, this.#leafMax);
    } catch (error) {
      if (!isLessorError(error)) throw error;
    }
  }

  /** As `unmapArea` for every area, at once. */
  unmapAll(): void {
    this.#table.unmap(0, iovaEnd);
  }

  /** Byte offset in the arena where an IOVA leads, for whatever access. Marks nothing as used. */
  arenaOffsetOf(iova: number): number | undefined {
    const leaf = this.#table.lookup(iova);
    if (leaf === undefined || (leaf.flags & entryUnreachable) !== 0) return undefined;
    return leaf.arenaPage * this.format.leafBytes + (iova % leaf.spanBytes);
  }

  /** Whether writes mark pages as dirty. */
  get isTracking(): boolean {
    return this.#table.isTracking;
  }

  /** Writes mark their leaves as dirty, or no more. What is dirty before counts as clean. */
  setTracking(isOn: boolean): void {
    if (isOn) this.#table.clearDirty(0, iovaEnd);
    this.#table.setTracking(isOn);
  }

  /**
   * Visits the dirty parts of [start, end), in ascending order. A leaf that reaches out of it
   * stays dirty when others are made clean: nobody has heard of the rest.
   */
  visitDirty(
    start: number,
    end: number,
    isClearing: boolean,
    visit: (start: number, end: number) => void,
  ): void {
    this.#table.readDirty(start, end, (leaf, lengthBytes) => {
      const leafEnd = leaf + lengthBytes;
      const isInside = leaf >= start && leafEnd <= end;
      if (isClearing && isInside) this.#table.clearDirty(leaf, leafEnd);
      visit(Math.max(leaf, start), Math.min(leafEnd, end));
    });
  }

  /** One area more for which an account pays, in the place of one that was cut. */
  shareCharge(account: DmaAccount | undefined): void {
    this.#chargeOf(account);
  }

  /** One area less for which an account pays; with the last one it owes nothing. */
  releaseCharge(account: DmaAccount | undefined): void {
    if (account === undefined) return;
    const entry = this.#charges.get(account);
    if (entry === undefined) return;
    entry.areaCount -= 1;
    if (entry.areaCount > 0) return;
    // Nodes that others' areas still need stay, paid by nobody.
    entry.charge.writeOff();
    this.#charges.delete(account);
  }

  /** Leaves the IOAS, and ends. Nothing may use it. */
  destroy(): void {
    const { ioas } = this;
    const index = ioas.domains.indexOf(this);
    if (index >= 0) {
      ioas.domains.splice(index, 1);
      ioas.unreserve(this);
      ioas.updateAlignment('IOMMU_DESTROY');
      if (ioas.domains.length === 0) unpinWhenSettled(this.#context, ioas);
    }
    this.fault?.removeUser();
    this.#table.destroy();
    for (const { charge } of this.#charges.values()) charge.writeOff();
    this.#charges.clear();
    releaseWhenSettled(this.#context, [], []);
  }

  #chargeOf(account: DmaAccount | undefined): TableCharge | undefined {
    if (account === undefined) return undefined;
    let entry = this.#charges.get(account);
    if (entry === undefined) {
      entry = { charge: new TableCharge(account), areaCount: 0 };
      this.#charges.set(account, entry);
    }
    entry.areaCount += 1;
    return entry.charge;
  }
}

function entryFlags(area: Area): number {
  if (area.isRevoked) return entryUnreachable;
  let flags = 0;
  if (area.protection & IOMMU_IOAS_MAP_READABLE) flags |= entryRead;
  if (area.protection & IOMMU_IOAS_MAP_WRITEABLE) flags |= entryWrite;
  return area.isUnreachable ? flags | entryUnreachable : flags;
}

function outside(aperture: IovaRange): IovaRange[] {
  const ranges: IovaRange[] = [];
  if (aperture.start > 0n) ranges.push({ start: 0n, last: aperture.start - 1n });
  if (aperture.last < u64Max) ranges.push({ start: aperture.last + 1n, last: u64Max });
  return ranges;
}
