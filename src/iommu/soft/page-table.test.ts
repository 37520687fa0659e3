import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { iovaEnd } from '../../base/units.js';
import type { DmaAccount } from '../types.js';
import { createControl } from './control.js';
import { DeviceIommu, faultNumber } from './device-iommu.js';
import {
  entryRead,
  entryUnreachable,
  entryWrite,
  hugeBytes,
  largeBytes,
  pageBytes,
} from './entry.js';
import { NodePool, nodeBytes, TableCharge } from './node-pool.js';
import { PageTable } from './page-table.js';
import { PasidTable } from './pasid-table.js';
import type { SmallestPage } from './table-shape.js';

const pasid = 7;

function setUp(poolPages = 4096, tablePagesMax = 4096, smallestPage: SmallestPage = 4096) {
  const pool = new NodePool(poolPages * nodeBytes);
  const table = new PageTable(pool, smallestPage);
  const pasids = new PasidTable(4);
  pasids.set(pasid, table.root);
  const control = createControl();
  const handles = { tables: pool.shared, pasids: pasids.shared, control, smallestPage };
  const device = new DeviceIommu(handles);
  const account: DmaAccount = { placedBytesMax: 0, tablePagesMax, placedBytes: 0, tablePages: 0 };
  return { pool, table, pasids, device, account, charge: new TableCharge(account), smallestPage };
}

function settle(pool: NodePool): void {
  const nodes = pool.takeRetired();
  if (nodes) pool.release(nodes);
}

interface Page {
  readonly arenaPage: number;
  readonly flags: number;
  /** Of the leaf that holds it, by its map and its place there. */
  readonly leafStart: number;
  readonly leafBytes: number;
}
interface Model {
  readonly pages: Map<number, Page>;
  readonly maps: { iova: number; lengthBytes: number }[];
  isTracking: boolean;
  readonly dirty: Map<number, number>;
}
type Real = ReturnType<typeof setUp>;

function expected(model: Model, real: Real, iova: number, access: 'read' | 'write'): number {
  const page = model.pages.get(Math.floor(iova / real.smallestPage));
  if (page === undefined) return faultNumber('not mapped');
  if (!(page.flags & (access === 'read' ? entryRead : entryWrite))) {
    return faultNumber('no permission');
  }
  if (page.flags & entryUnreachable) return faultNumber('not reachable');
  if (model.isTracking && access === 'write') model.dirty.set(page.leafStart, page.leafBytes);
  return page.arenaPage * real.smallestPage + (iova % real.smallestPage);
}

function compareAt(model: Model, real: Real, iova: number): void {
  if (iova < 0 || iova >= iovaEnd) return;
  for (const access of ['read', 'write'] as const) {
    expect(real.device.translate(pasid, iova, access)).toBe(expected(model, real, iova, access));
  }
}

type Step = fc.Command<Model, Real>;

/** Where the leaf begins that holds a page of a map, and what it covers. */
function leafOf(
  iova: number,
  end: number,
  at: number,
  arenaPage: number,
  flags: number,
  real: Real,
) {
  const large = 512 * real.smallestPage;
  const leafStart = Math.floor(at / large) * large;
  const isWhole = leafStart >= iova && leafStart + large <= end;
  const first = arenaPage + (leafStart - iova) / real.smallestPage;
  if (isWhole && (flags & entryUnreachable || first % 512 === 0)) {
    return { leafStart, leafBytes: large };
  }
  return { leafStart: at, leafBytes: real.smallestPage };
}

function mapStep(anchor: number, offset: number, pages: number, page: number, flags: number): Step {
  const arenaPage = (flags & entryUnreachable) !== 0 ? 0 : page;
  const place = (real: Real) => {
    const iova = Math.max(0, anchor + offset * real.smallestPage);
    return { iova, end: iova + pages * real.smallestPage };
  };
  let smallest = 0;
  return {
    check: (model) => {
      // Both sizes of page are decided when it runs; overlap is looked for in both.
      for (const map of model.maps) {
        for (const size of [2048, 4096]) {
          const iova = Math.max(0, anchor + offset * size);
          if (iova < map.iova + map.lengthBytes && map.iova < iova + pages * size) return false;
        }
      }
      return Math.max(0, anchor + offset * 4096) + pages * 4096 <= iovaEnd;
    },
    run(model, real) {
      const { iova, end } = place(real);
      smallest = real.smallestPage;
      real.table.map(iova, end - iova, arenaPage, flags, real.charge);
      for (let at = iova; at < end; at += smallest) {
        const to = arenaPage + (at - iova) / smallest;
        const leaf = leafOf(iova, end, at, arenaPage, flags, real);
        model.pages.set(at / smallest, { arenaPage: to, flags, ...leaf });
      }
      model.maps.push({ iova, lengthBytes: end - iova });
      const middle = Math.floor(pages / 2) * smallest;
      for (const at of [-1, 0, middle, smallest - 1, smallest, end - iova - 1, end - iova]) {
        compareAt(model, real, iova + at);
      }
    },
    toString: () => `map ${anchor.toString(16)}+${offset} ${pages} -> ${arenaPage} ${flags}`,
  };
}

function unmapStep(pick: number): Step {
  return {
    check: (model) => model.maps.length > 0,
    run(model, real) {
      const [gone] = model.maps.splice(pick % model.maps.length, 1);
      const { iova, lengthBytes } = gone!;
      real.table.unmap(iova, lengthBytes);
      for (let at = iova; at < iova + lengthBytes; at += real.smallestPage) {
        model.pages.delete(at / real.smallestPage);
        model.dirty.delete(at);
      }
      settle(real.pool);
      for (const at of [-1, 0, lengthBytes - 1, lengthBytes]) compareAt(model, real, iova + at);
    },
    toString: () => `unmap ${pick}`,
  };
}

function trackStep(isOn: boolean): Step {
  return {
    check: () => true,
    run(model, real) {
      real.table.setTracking(isOn);
      model.isTracking = isOn;
    },
    toString: () => `track ${isOn}`,
  };
}

function dirtyStep(how: 'read' | 'take' | 'clear', from: number, to: number): Step {
  return {
    check: () => from < to,
    run(model, real) {
      const met = [...model.dirty].filter(([at, bytes]) => at < to && at + bytes > from);
      met.sort(([one], [other]) => one - other);
      if (how !== 'read') for (const [at] of met) model.dirty.delete(at);
      const seen: [number, number][] = [];
      if (how === 'clear') real.table.clearDirty(from, to);
      else real.table[`${how}Dirty`](from, to, (at, bytes) => seen.push([at, bytes]));
      expect(seen).toEqual(how === 'clear' ? [] : met);
    },
    toString: () => `${how} dirty ${from.toString(16)} ${to.toString(16)}`,
  };
}

const anchors = [0, largeBytes, hugeBytes, 2 ** 39, 2 ** 47, iovaEnd - 2 * largeBytes];
const anchor = fc.constantFrom(...anchors);
const offset = fc.oneof(fc.integer({ min: -4, max: 520 }), fc.constant(0));
const flags = fc.constantFrom(
  entryRead,
  entryWrite,
  entryRead | entryWrite,
  entryRead | entryWrite | entryUnreachable,
);
const pageCount = fc.oneof(fc.integer({ min: 1, max: 6 }), fc.constantFrom(511, 512, 513, 1030));
const arenaPage = fc.constantFrom(1, 512, 1024, 0xff_f000, 513);
const address = fc.oneof(
  fc.constantFrom(0, iovaEnd),
  fc.tuple(anchor, offset).map(([at, pages]) => Math.max(0, at + pages * 2048)),
);

describe.each([4096, 2048] as const)(
  'page table of %d-byte pages against a map of pages',
  (size) => {
    test('every translation and dirty leaf agrees, and nothing is left after unmapping all', () => {
      const commands = fc.commands(
        [
          fc
            .tuple(anchor, offset, pageCount, arenaPage, flags)
            .map(([at, pages, count, page, how]) => mapStep(at, pages, count, page, how)),
          fc.nat(1000).map((pick) => unmapStep(pick)),
          fc.boolean().map((isOn) => trackStep(isOn)),
          fc
            .tuple(fc.constantFrom('read', 'take', 'clear'), address, address)
            .map(([how, from, to]) => dirtyStep(how, from, to)),
        ],
        { maxCommands: 40 },
      );
      fc.assert(
        fc.property(commands, (run) => {
          const real = setUp(4096, 4096, size);
          const model: Model = { pages: new Map(), maps: [], isTracking: false, dirty: new Map() };
          fc.modelRun(() => ({ model, real }), run);
          for (const map of model.maps) real.table.unmap(map.iova, map.lengthBytes);
          settle(real.pool);
          expect(real.pool.usedCount).toBe(1);
          expect(real.account.tablePages).toBe(0);
        }),
        { numRuns: 60 },
      );
    });
  },
);

describe('page table', () => {
  test('aligned 2 MiB become one large leaf, and one page off they do not', () => {
    const { table, charge } = setUp();
    table.map(largeBytes, largeBytes, 512, entryRead, charge);
    expect(table.lookup(largeBytes + 5)?.spanBytes).toBe(largeBytes);
    table.map(4 * largeBytes, largeBytes, 513, entryRead, charge);
    expect(table.lookup(4 * largeBytes)?.spanBytes).toBe(pageBytes);
  });

  test('2^40 bytes of unreachable memory cost a handful of table pages', () => {
    const { table, pool, charge, device } = setUp();
    table.map(pageBytes, 2 ** 40, 0, entryRead | entryUnreachable, charge);
    expect(pool.usedCount).toBeLessThan(12);
    expect(device.translate(pasid, 2 ** 39 + 5, 'read')).toBe(faultNumber('not reachable'));
    expect(device.translate(pasid, 2 ** 39 + 5, 'write')).toBe(faultNumber('no permission'));
    expect(device.translate(pasid, 2 ** 40 + pageBytes, 'read')).toBe(faultNumber('not mapped'));
    table.unmap(pageBytes, 2 ** 40);
    settle(pool);
    expect(pool.usedCount).toBe(1);
  });

  test('what is no address below 2^48 is not mapped', () => {
    const { table, charge, device } = setUp();
    table.map(0, pageBytes, 9, entryRead, charge);
    table.map(iovaEnd - pageBytes, pageBytes, 10, entryRead, charge);
    expect(device.translate(pasid, 0, 'read')).toBe(9 * pageBytes);
    expect(device.translate(pasid, iovaEnd - 1, 'read')).toBe(11 * pageBytes - 1);
    const hostile = [
      -1,
      iovaEnd,
      2 ** 53,
      2 ** 64,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      -(2 ** 64),
    ];
    for (const at of hostile) {
      expect(device.translate(pasid, at, 'read')).toBe(faultNumber('not mapped'));
    }
  });

  test('checks come in the order of the reasons', () => {
    const { table, charge, device, pasids } = setUp();
    table.map(0, pageBytes, 1, entryRead | entryUnreachable, charge);
    expect(device.translate(undefined, 0, 'read')).toBe(faultNumber('not attached'));
    expect(device.translate(0, 0, 'read')).toBe(faultNumber('not attached'));
    for (const stranger of [3, 16, 2 ** 31, -1, 0.5]) {
      expect(device.translate(stranger, 0, 'read')).toBe(faultNumber('not attached'));
    }
    expect(device.translate(pasid, pageBytes, 'write')).toBe(faultNumber('not mapped'));
    expect(device.translate(pasid, 0, 'write')).toBe(faultNumber('no permission'));
    expect(device.translate(pasid, 0, 'read')).toBe(faultNumber('not reachable'));
    pasids.set(pasid, 0);
    expect(device.translate(pasid, 0, 'read')).toBe(faultNumber('not attached'));
    pasids.set(0, table.root);
    expect(device.translate(undefined, 0, 'read')).toBe(faultNumber('not reachable'));
    expect(device.translate(0, 0, 'read')).toBe(faultNumber('not attached'));
  });

  test('table pages are charged up to the limit; one past it maps nothing', () => {
    // Two pages of IOVA in different 1 GiB ranges need two paid nodes each.
    const { table, pool, charge, account, device } = setUp(64, 3);
    table.map(0, pageBytes, 1, entryRead, charge);
    expect(account.tablePages).toBe(2);
    const before = pool.usedCount;
    expect(() => table.map(hugeBytes, pageBytes, 1, entryRead, charge)).toThrowError(
      expect.objectContaining({ code: 'QUOTA_EXCEEDED' }),
    );
    settle(pool);
    expect([account.tablePages, pool.usedCount]).toEqual([2, before]);
    table.map(largeBytes, pageBytes, 2, entryRead, charge);
    expect(account.tablePages).toBe(3);
    // Half of this range fits into a node that exists; the rest needs a fourth.
    const half = 2 * largeBytes - pageBytes;
    expect(() => table.map(half, 2 * pageBytes, 4, entryRead, charge)).toThrowError(
      expect.objectContaining({ code: 'QUOTA_EXCEEDED' }),
    );
    expect(device.translate(pasid, half, 'read')).toBe(faultNumber('not mapped'));
    expect(device.translate(pasid, largeBytes, 'read')).toBe(2 * pageBytes);
  });

  test('an exhausted pool is ARENA_FULL, and the failed map leaves nothing', () => {
    const { table, pool } = setUp(5);
    table.map(0, pageBytes, 1, entryRead, undefined);
    expect(() => table.map(2 ** 40, pageBytes, 1, entryRead, undefined)).toThrowError(
      expect.objectContaining({ code: 'ARENA_FULL' }),
    );
    settle(pool);
    expect(pool.usedCount).toBe(4);
  });

  test('a write-off moves shared nodes to nobody', () => {
    const { table, pool, charge, account } = setUp();
    const other: DmaAccount = {
      placedBytesMax: 0,
      tablePagesMax: 9,
      placedBytes: 0,
      tablePages: 0,
    };
    table.map(0, pageBytes, 1, entryRead, charge);
    table.map(pageBytes, pageBytes, 1, entryRead, new TableCharge(other));
    table.unmap(0, pageBytes);
    settle(pool);
    expect([account.tablePages, other.tablePages]).toEqual([2, 0]);
    charge.writeOff();
    expect(account.tablePages).toBe(0);
    table.unmap(pageBytes, pageBytes);
    settle(pool);
    expect([account.tablePages, pool.usedCount]).toEqual([0, 1]);
  });

  test('writes are marked only while their own table is tracked, and reads never', () => {
    const { table, charge, device, pool, pasids } = setUp();
    const other = new PageTable(pool);
    pasids.set(3, other.root);
    other.map(0, pageBytes, 2, entryRead | entryWrite, charge);
    table.map(0, pageBytes, 1, entryRead | entryWrite, charge);
    table.map(largeBytes, largeBytes, 512, entryRead | entryWrite, charge);
    const dirtyOf = (of: PageTable): number[][] => {
      const leaves: number[][] = [];
      of.takeDirty(0, iovaEnd, (at, bytes) => leaves.push([at, bytes]));
      return leaves;
    };
    device.translate(pasid, 5, 'write');
    expect(dirtyOf(table)).toEqual([]);
    table.setTracking(true);
    expect([table.isTracking, other.isTracking]).toEqual([true, false]);
    expect(device.translate(pasid, 5, 'read')).toBe(pageBytes + 5);
    expect(dirtyOf(table)).toEqual([]);
    expect(device.translate(3, 5, 'write')).toBe(2 * pageBytes + 5);
    expect(device.translate(pasid, 5, 'write')).toBe(pageBytes + 5);
    expect(device.translate(pasid, largeBytes + 7, 'write')).toBe(512 * pageBytes + 7);
    // A link of the root that comes later is tracked as well.
    table.map(2 ** 40, pageBytes, 7, entryWrite, charge);
    expect(device.translate(pasid, 2 ** 40, 'write')).toBe(7 * pageBytes);
    const written = [
      [0, pageBytes],
      [largeBytes, largeBytes],
      [2 ** 40, pageBytes],
    ];
    expect([dirtyOf(table), dirtyOf(table), dirtyOf(other)]).toEqual([written, [], []]);
    table.setTracking(false);
    device.translate(pasid, 5, 'write');
    expect(dirtyOf(table)).toEqual([]);
  });

  test('a refused write marks nothing', () => {
    const { table, charge, device } = setUp();
    table.setTracking(true);
    table.map(0, pageBytes, 1, entryRead, charge);
    table.map(pageBytes, pageBytes, 0, entryWrite | entryUnreachable, charge);
    for (const at of [0, pageBytes, 2 * pageBytes]) {
      expect(device.translate(pasid, at, 'write')).toBeLessThan(0);
    }
    table.readDirty(0, iovaEnd, () => expect.unreachable());
  });

  test('no leaf is larger than asked for', () => {
    const { table, charge } = setUp();
    table.map(0, largeBytes, 512, entryRead, charge, pageBytes);
    expect(table.lookup(0)?.spanBytes).toBe(pageBytes);
    table.unmap(5 * pageBytes, pageBytes);
    expect(table.lookup(5 * pageBytes)).toBeUndefined();
    const unreachable = entryRead | entryUnreachable;
    table.map(hugeBytes, hugeBytes, 0, unreachable, charge, largeBytes);
    expect(table.lookup(hugeBytes)?.spanBytes).toBe(largeBytes);
    table.map(2 * hugeBytes, hugeBytes, 0, unreachable, charge);
    expect(table.lookup(2 * hugeBytes)?.spanBytes).toBe(hugeBytes);
  });

  test('a table of 2 KiB pages has leaves of 2 KiB and 1 MiB, up to 2^48', () => {
    const { table, charge, device } = setUp(4096, 4096, 2048);
    const top = iovaEnd - 2048;
    table.map(top, 2048, 9, entryRead, charge);
    table.map(2048, 2048, 3, entryRead, charge);
    table.map(2 ** 47, 2 ** 20, 512, entryRead, charge);
    expect([table.lookup(top)?.spanBytes, table.lookup(2 ** 47)?.spanBytes]).toEqual([
      2048,
      2 ** 20,
    ]);
    expect(device.translate(pasid, top + 2047, 'read')).toBe(10 * 2048 - 1);
    expect(device.translate(pasid, 2049, 'read')).toBe(3 * 2048 + 1);
    expect(device.translate(pasid, 4096, 'read')).toBe(faultNumber('not mapped'));
    expect(device.translate(pasid, 2 ** 47 + 2 ** 20 - 1, 'read')).toBe(2 ** 21 - 1);
  });
});
