// Charging a source for the distinct pages of it that are pinned.
import type { AccountMode, MemoryAccounting, Payer, PayingProcess } from './accounting.js';
import type { Area } from './area.js';
import { pageBytes } from './entry.js';
import type { Pages } from './pages.js';

/** How one context counts. */
export class Payment {
  readonly accounting: MemoryAccounting;
  /** For what is mapped from now on by a process without CAP_IPC_LOCK. */
  mode: Exclude<AccountMode, 'none'> = 'user';
  readonly #current: () => PayingProcess;

  /** @param current - The process that makes the call. */
  constructor(accounting: MemoryAccounting, current: () => PayingProcess) {
    this.accounting = accounting;
    this.#current = current;
  }

  get process(): PayingProcess {
    return this.#current();
  }

  /** Who pays for what is mapped now. */
  newPayer(): Payer {
    const { process } = this;
    return { process, mode: process.mayLockAll ? 'none' : this.mode };
  }

  /** After areas were pinned or let go. False when that is over the limit: nothing changed. */
  update(pages: Pages): boolean {
    const { payer } = pages;
    if (payer === undefined) return true;
    const pinned = pinnedPages(pages.areas);
    const more = pinned - pages.paidPages;
    if (more > 0 && !this.accounting.charge(payer, more)) return false;
    if (more < 0) this.accounting.uncharge(payer, -more);
    pages.paidPages = pinned;
    return true;
  }
}

/** Pages of the source that at least one area has placed. */
function pinnedPages(areas: Iterable<Area>): number {
  const spans: { readonly from: number; readonly to: number }[] = [];
  for (const { extents, sourceStart, at, end } of areas) {
    if (extents === undefined) continue;
    const start = Number(sourceStart);
    const last = start + (end - at) - 1;
    spans.push({ from: Math.floor(start / pageBytes), to: Math.floor(last / pageBytes) + 1 });
  }
  spans.sort((one, two) => one.from - two.from);
  let count = 0;
  let reach = 0;
  for (const { from, to } of spans) {
    count += Math.max(0, to - Math.max(from, reach));
    reach = Math.max(reach, to);
  }
  return count;
}
