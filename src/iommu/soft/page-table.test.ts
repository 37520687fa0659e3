import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { iovaEnd } from '../../base/units.js';
import { ManualClock } from '../testing/manual-clock.js';
import type { DmaAccount } from '../types.js';
import { createControl } from './control.js';
import { DeviceIommu, faultNumber } from './device-iommu.js';
import {
  entryAccessed,
  entryDirty,
  entryRead,
  entryUnreachable,
  entryWrite,
  hugeBytes,
  largeBytes,
  pageBytes,
} from './entry.js';
import { Invalidation } from './invalidation.js';
import { NodePool, TableCharge } from './node-pool.js';
import { PageTable } from './page-table.js';
import { PasidTable } from './pasid-table.js';

const pasid = 7;

function setUp(poolPages = 4096, tablePagesMax = 4096) {
  const pool = new NodePool(poolPages * pageBytes);
  const table = new PageTable(pool);
  const pasids = new PasidTable(4);
  pasids.set(pasid, table.root);
  const control = createControl();
  const handles = { tables: pool.shared, pasids: pasids.shared, control };
  const device = new DeviceIommu(handles);
  const account: DmaAccount = { placedBytesMax: 0, tablePagesMax, placedBytes: 0, tablePages: 0 };
  return { pool, table, pasids, control, device, account, charge: new TableCharge(account) };
}

function settle(pool: NodePool): void {
  const nodes = pool.takeRetired();
  if (nodes) pool.release(nodes);
}

interface Model {
  readonly pages: Map<number, { readonly arenaPage: number; readonly flags: number }>;
  readonly maps: { iova: number; lengthBytes: number }[];
}
type Real = ReturnType<typeof setUp>;

function expected(model: Model, iova: number, access: 'read' | 'write'): number {
  const page = model.pages.get(Math.floor(iova / pageBytes));
  if (page === undefined) return faultNumber('not mapped');
  if (!(page.flags & (access === 'read' ? entryRead : entryWrite))) {
    return faultNumber('no permission');
  }
  if (page.flags & entryUnreachable) return faultNumber('not reachable');
  return page.arenaPage * pageBytes + (iova % pageBytes);
}

function compareAt(model: Model, real: Real, iova: number): void {
  if (iova < 0 || iova >= iovaEnd) return;
  for (const access of ['read', 'write'] as const) {
    expect(real.device.translate(pasid, iova, access)).toBe(expected(model, iova, access));
  }
}

type Step = fc.Command<Model, Real>;

function mapStep(iova: number, pages: number, wantedPage: number, flags: number): Step {
  const first = iova / pageBytes;
  const lengthBytes = pages * pageBytes;
  const arenaPage = (flags & entryUnreachable) !== 0 ? 0 : wantedPage;
  return {
    check(model) {
      if (iova + lengthBytes > iovaEnd) return false;
      for (let page = 0; page < pages; page++) if (model.pages.has(first + page)) return false;
      return true;
    },
    run(model, real) {
      real.table.map(iova, lengthBytes, arenaPage, flags, real.charge);
      for (let page = 0; page < pages; page++) {
        model.pages.set(first + page, { arenaPage: arenaPage + page, flags });
      }
      model.maps.push({ iova, lengthBytes });
      for (const at of [-1, 0, pageBytes - 1, pageBytes, lengthBytes - 1, lengthBytes]) {
        compareAt(model, real, iova + at);
      }
    },
    toString: () => `map ${iova.toString(16)} ${pages} -> ${arenaPage} ${flags}`,
  };
}

function unmapStep(pick: number): Step {
  return {
    check: (model) => model.maps.length > 0,
    run(model, real) {
      const [gone] = model.maps.splice(pick % model.maps.length, 1);
      const { iova, lengthBytes } = gone!;
      real.table.unmap(iova, lengthBytes);
      for (let at = 0; at < lengthBytes; at += pageBytes) {
        model.pages.delete((iova + at) / pageBytes);
      }
      settle(real.pool);
      for (const at of [-1, 0, lengthBytes - 1, lengthBytes]) compareAt(model, real, iova + at);
    },
    toString: () => `unmap ${pick}`,
  };
}

const anchors = [0, largeBytes, hugeBytes, 2 ** 39, 2 ** 47, iovaEnd - 2 * largeBytes];
const iova = fc
  .tuple(fc.constantFrom(...anchors), fc.integer({ min: -4, max: 520 }))
  .map(([anchor, pages]) => Math.max(0, anchor + pages * pageBytes));
const flags = fc.constantFrom(
  entryRead,
  entryWrite,
  entryRead | entryWrite,
  entryRead | entryWrite | entryUnreachable,
);
const pageCount = fc.oneof(fc.integer({ min: 1, max: 6 }), fc.constantFrom(511, 512, 513, 1030));
const arenaPage = fc.constantFrom(1, 512, 1024, 0xffff_f000, 513);

describe('page table against a map of pages', () => {
  test('every translation agrees, and nothing is left after unmapping all', () => {
    const commands = fc.commands(
      [
        fc
          .tuple(iova, pageCount, arenaPage, flags)
          .map(([at, pages, page, how]) => mapStep(at, pages, page, how)),
        fc.nat(1000).map((pick) => unmapStep(pick)),
      ],
      { maxCommands: 40 },
    );
    fc.assert(
      fc.property(commands, (run) => {
        const real = setUp();
        const model: Model = { pages: new Map(), maps: [] };
        fc.modelRun(() => ({ model, real }), run);
        for (const map of model.maps) real.table.unmap(map.iova, map.lengthBytes);
        settle(real.pool);
        expect(real.pool.usedCount).toBe(1);
        expect(real.account.tablePages).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});

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

  test('accessed and dirty are kept only while tracking is on', () => {
    const { table, charge, device, control } = setUp();
    const invalidation = new Invalidation(control, new ManualClock(), 1);
    table.map(0, pageBytes, 1, entryRead | entryWrite, charge);
    table.map(largeBytes, largeBytes, 512, entryRead | entryWrite, charge);
    device.translate(pasid, 5, 'write');
    expect(table.takeUse(0)).toEqual({ accessed: false, dirty: false });
    invalidation.setTracking(true);
    expect(device.translate(pasid, 5, 'read')).toBe(pageBytes + 5);
    expect(table.lookup(0)!.flags & (entryAccessed | entryDirty)).toBe(entryAccessed);
    expect(device.translate(pasid, 5, 'write')).toBe(pageBytes + 5);
    expect(device.translate(pasid, largeBytes + 7, 'write')).toBe(512 * pageBytes + 7);
    expect(table.takeUse(0)).toEqual({ accessed: true, dirty: true });
    expect(table.takeUse(0)).toEqual({ accessed: false, dirty: false });
    expect(table.takeUse(largeBytes)).toEqual({ accessed: true, dirty: true });
    expect(table.takeUse(9 * largeBytes)).toEqual({ accessed: false, dirty: false });
  });
});
