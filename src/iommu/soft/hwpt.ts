// A paging HWPT: the page table through which devices see an IOAS, kept equal to its areas.
import { iovaEnd } from '../../base/units.js';
import { IOMMU_IOAS_MAP_READABLE, IOMMU_IOAS_MAP_WRITEABLE } from '../../uapi/iommufd.js';
import { type IovaRange, u64Max } from '../requests.js';
import type { DmaAccount } from '../types.js';
import type { Area } from './area.js';
import { releaseWhenSettled, type SoftContext, unpinWhenSettled } from './context.js';
import { entryRead, entryUnreachable, entryWrite, pageBytes } from './entry.js';
import type { Ioas } from './ioas.js';
import { TableCharge } from './node-pool.js';
import { PageTable } from './page-table.js';
import { pin, unpin } from './pin.js';
import { pinError } from './pin-error.js';

export interface HwptOptions {
  readonly aperture: IovaRange;
  /** May be attached to PASIDs. */
  readonly isPasid: boolean;
  /** Made by an attach to the IOAS, gone with its last device. */
  readonly isAuto: boolean;
}

export class Hwpt {
  readonly kind = 'hwpt';
  id = 0;
  readonly ioas: Ioas;
  readonly aperture: IovaRange;
  readonly isPasid: boolean;
  readonly isAuto: boolean;
  /** Smallest page of its table. */
  readonly pageBytes = pageBytes;
  /** Devices and PASIDs attached to it. */
  useCount = 0;
  readonly #context: SoftContext;
  readonly #table: PageTable;
  readonly #charges = new Map<DmaAccount, { readonly charge: TableCharge; areaCount: number }>();

  /**
   * Joins the IOAS: raises its alignment, reserves what is outside the aperture, and maps every
   * area, placing its memory. All or nothing.
   *
   * @throws OsError `EADDRINUSE`, `EINVAL`, `ENOMEM`
   */
  constructor(context: SoftContext, ioas: Ioas, options: HwptOptions, call: string) {
    this.#context = context;
    this.ioas = ioas;
    this.aperture = options.aperture;
    this.isPasid = options.isPasid;
    this.isAuto = options.isAuto;
    ioas.checkAlignment(this.pageBytes, call);
    ioas.reserve(outside(options.aperture), this, call);
    try {
      this.#table = new PageTable(context.pool);
    } catch (error) {
      ioas.unreserve(this);
      throw pinError(error, call);
    }
    const pinned: Area[] = [];
    try {
      for (const area of ioas.areas) {
        if (pin(context, area, call)) pinned.push(area);
        this.mapArea(area, call);
      }
    } catch (error) {
      ioas.unreserve(this);
      for (const area of pinned) unpin(context, area);
      this.#discardTable();
      throw error;
    }
    ioas.domains.push(this);
    ioas.updateAlignment(call);
  }

  get root(): number {
    return this.#table.root;
  }

  /** All or nothing; the caller has its retired nodes acknowledged. @throws OsError `ENOMEM` */
  mapArea(area: Area, call: string): void {
    const flags = entryFlags(area);
    const start = area.at;
    const lengthBytes = area.end - start;
    const charge = this.#chargeOf(area.account);
    let mappedBytes = 0;
    try {
      if (area.isUnreachable) {
        this.#table.map(start, lengthBytes, 0, flags, charge);
      } else {
        const sourceStart = Number(area.sourceStart);
        for (const extent of area.extents!) {
          // The part of this extent that the area covers.
          const from = sourceStart + mappedBytes - extent.startBytes;
          const bytes = Math.min(lengthBytes - mappedBytes, extent.lengthBytes - from);
          const arenaPage = (extent.offsetBytes + from) / pageBytes;
          this.#table.map(start + mappedBytes, bytes, arenaPage, flags, charge);
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

  /** As `unmapArea` for every area, at once. */
  unmapAll(): void {
    this.#table.unmap(0, iovaEnd);
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

  /** Leaves the IOAS. No device may be attached. */
  destroy(): void {
    const { ioas } = this;
    ioas.domains.splice(ioas.domains.indexOf(this), 1);
    ioas.unreserve(this);
    ioas.updateAlignment('IOMMU_DESTROY');
    this.#discardTable();
    if (ioas.domains.length === 0) unpinWhenSettled(this.#context, ioas);
  }

  #discardTable(): void {
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
