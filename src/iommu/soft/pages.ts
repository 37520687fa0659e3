// The memory behind areas: one source, with one or more areas that each show a part of it.
//
// Bytes are counted as the source does: from the start of a file or a window, or from address 0
// of a process. What is placed is placed per area; areas of one source share what they have placed.
import { assert } from '../../base/errors.js';
import type { DmaAccount } from '../types.js';
import type { Payer } from './accounting.js';
import type { Area } from './area.js';
import type { Extent, ExtentUser } from './extents.js';
import type { HeldFile } from './held-file.js';

/**
 * `no memory`: a file that has none, which shows when it is placed. `unreachable`: only messages
 * reach it. `window`: of a device, and may be taken away.
 */
export type PagesKind = 'file' | 'no memory' | 'user' | 'unreachable' | 'window';

/** Some placed memory that an area holds; `extents` are in the bytes of a file. */
export class Pin implements ExtentUser {
  readonly area: Area;
  readonly account: DmaAccount | undefined;
  extents: readonly Extent[] = [];
  extentSlot = 0;

  constructor(area: Area, account: DmaAccount | undefined) {
    this.area = area;
    this.account = account;
  }
}

/** Placed memory in the bytes of its source. */
export interface Run extends Extent {
  /** What is placed, when that counts in other bytes. */
  readonly extent?: Extent;
}

const noPins: readonly Pin[] = [];

export class Pages {
  readonly kind: PagesKind;
  /** No area may allow the device to write when this is false. */
  readonly isWritable: boolean;
  /** To place it, again and again. Owned; undefined where what is placed is all there is. */
  readonly file: HeldFile | undefined;
  /** Undefined: nobody counts. */
  payer: Payer | undefined = undefined;
  /** For so many pages. */
  paidPages = 0;
  /** What is in place whoever shows it, and is not placed for anybody. */
  readonly placed: readonly Extent[] | undefined = undefined;
  /** Who shows it, with what is placed for each. */
  readonly #areas = new Map<Area, readonly Pin[]>();

  constructor(kind: PagesKind, isWritable: boolean, file: HeldFile | undefined) {
    this.kind = kind;
    this.isWritable = isWritable;
    this.file = file;
  }

  /** True when areas can give up their placed memory and find it again. */
  get canPlaceAgain(): boolean {
    return this.file !== undefined || this.kind === 'user' || this.kind === 'no memory';
  }

  /** It was taken away for good: its areas lead nowhere, and block their addresses. */
  get isRevoked(): boolean {
    return false;
  }

  get areas(): Iterable<Area> {
    return this.#areas.keys();
  }

  get areaCount(): number {
    return this.#areas.size;
  }

  setPins(area: Area, pins: readonly Pin[]): void {
    assert(this.#areas.has(area), 'an area that joined');
    this.#areas.set(area, pins);
  }

  /** What is placed for an area, which has nothing then. */
  takePins(area: Area): readonly Pin[] {
    const pins = this.#areas.get(area) ?? noPins;
    if (pins !== noPins) this.#areas.set(area, noPins);
    return pins;
  }

  /** Each area once, when it is made. */
  join(area: Area): void {
    assert(area.pages === this, 'an area of these pages');
    if (this.kind !== 'unreachable') this.#areas.set(area, noPins);
  }

  /** When an area ends; its memory is given up already. */
  leave(area: Area): void {
    this.#areas.delete(area);
    if (this.#areas.size === 0) this.file?.close();
  }
}

/** Shared by all areas of unreachable memory: there is nothing to tell them apart. */
export const unreachablePages = {
  readOnly: new Pages('unreachable', false, undefined),
  writable: new Pages('unreachable', true, undefined),
} as const;
