// Rules of OPTION, RLIMIT_MODE and what counts as locked memory, and CHANGE_PROCESS.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MiB } from '../../base/units.js';
import { u64Max } from '../requests.js';
import { errnoOf } from '../testing/errno-of.js';
import { attachOne, createIoasWorld, FIXED, PAGE, R, W } from '../testing/ioas-world.js';
import { createSoftWorld } from '../testing/soft-world.js';
import { MemoryAccounting, type PayingProcess } from './accounting.js';

const RLIMIT = 0;
const HUGE = 1;
const SET = 0;
const GET = 1;

const someone: PayingProcess = {
  userId: 7,
  processId: 70,
  lockedPagesMax: 4,
  mayLockAll: false,
  mayChooseMode: true,
};

/** An IOAS whose memory is counted against `someone`, who may be changed. */
function setUp(change: Partial<PayingProcess> = {}) {
  const accounting = new MemoryAccounting();
  const caller = { process: { ...someone, ...change } };
  const world = createIoasWorld({ lockedMemory: { accounting, process: () => caller.process } });
  const option = (optionId: number, op: number, objectId: number, value = 0n) =>
    errnoOf(() => world.iommufd.option({ optionId, op, objectId, value }));
  const become = (next: Partial<PayingProcess>) => {
    caller.process = { ...caller.process, ...next };
  };
  return { ...world, accounting, option, become };
}

describe('OPTION', () => {
  test('the option before any object, the object before the operation, the value last', () => {
    const { option, ioasId } = setUp();
    expect(option(2, 9, 99)).toBe('EOPNOTSUPP');
    expect(option(HUGE, 9, 99, 5n)).toBe('ENOENT');
    expect(option(HUGE, 9, ioasId, 5n)).toBe('EOPNOTSUPP');
    for (const value of [2n, u64Max]) expect(option(HUGE, SET, ioasId, value)).toBe('EINVAL');
    expect(option(HUGE, GET, ioasId, 5n)).toBe(1n);
  });

  test('HUGE_PAGES 0 raises the alignment to a page, and 1 lets it fall', () => {
    const { option, ioasId, iommufd } = setUp();
    const alignment = () => iommufd.ioasIovaRanges(ioasId, 1).alignment;
    expect(option(HUGE, SET, ioasId, 0n)).toBe(0n);
    expect([option(HUGE, GET, ioasId), alignment()]).toEqual([0n, PAGE]);
    expect(option(HUGE, SET, ioasId, 1n)).toBe(1n);
    expect([option(HUGE, GET, ioasId), alignment()]).toEqual([1n, 1n]);
  });

  test('HUGE_PAGES 0 with an area off the page is EADDRINUSE, and changes nothing', () => {
    for (const where of [{ iova: 1n }, { length: 1n }, { start: 1n }]) {
      const { option, ioasId, map } = setUp();
      map(where);
      expect(option(HUGE, SET, ioasId, 0n)).toBe('EADDRINUSE');
      expect(option(HUGE, GET, ioasId)).toBe(1n);
    }
  });

  test('HUGE_PAGES 0 with areas in tables is EINVAL; with either alone it is not', () => {
    const world = setUp();
    const { device } = attachOne(world, world.ioasId);
    expect(world.option(HUGE, SET, world.ioasId, 0n)).toBe(0n);
    world.option(HUGE, SET, world.ioasId, 1n);
    world.map();
    expect(world.option(HUGE, SET, world.ioasId, 0n)).toBe('EINVAL');
    device.detach();
    expect(world.option(HUGE, SET, world.ioasId, 0n)).toBe(0n);
    device.attach(world.ioasId);
    expect(world.option(HUGE, SET, world.ioasId, 0n)).toBe(0n);
  });

  test('RLIMIT_MODE: object, operation, EPERM, EBUSY, EINVAL', () => {
    const world = setUp({ mayChooseMode: false });
    expect(world.option(RLIMIT, 9, 1)).toBe('EOPNOTSUPP');
    expect(world.option(RLIMIT, 9, 0)).toBe('EOPNOTSUPP');
    expect(world.option(RLIMIT, SET, 0, 2n)).toBe('EPERM');
    world.become({ mayChooseMode: true });
    expect(world.option(RLIMIT, SET, 0, 2n)).toBe('EBUSY');
    world.iommufd.destroy(world.ioasId);
    expect(world.option(RLIMIT, SET, 0, 2n)).toBe('EINVAL');
    expect(world.option(RLIMIT, GET, 0)).toBe(0n);
    expect(world.option(RLIMIT, SET, 0, 1n)).toBe(1n);
    expect(world.option(RLIMIT, GET, 0)).toBe(1n);
    const plain = createSoftWorld().iommufd;
    expect(plain.option({ optionId: RLIMIT, op: GET, objectId: 0, value: 9n })).toBe(0n);
  });
});

describe('locked memory', () => {
  test('counts what is pinned, up to the limit exactly, and gives it back', () => {
    const world = setUp();
    world.map({ length: 5n * PAGE });
    expect(world.accounting.lockedByUser(7)).toBe(0);
    const device = world.iommufd.bind(world.createUnit());
    expect(errnoOf(() => device.attach(world.ioasId))).toBe('ENOMEM');
    expect([world.accounting.lockedByUser(7), world.extents.count]).toEqual([0, 0]);
    world.unmap(0n, u64Max);
    device.attach(world.ioasId);
    expect(world.map({ length: 4n * PAGE })).toBe(PAGE);
    expect(world.accounting.lockedByUser(7)).toBe(4);
    expect(world.map({ iova: 0x1_0000n })).toBe('ENOMEM');
    expect(world.unmap(0x1_0000n, PAGE)).toBe('ENOENT');
    device.detach();
    expect(world.accounting.lockedByUser(7)).toBe(0);
    device.attach(world.ioasId);
    world.unmap(0n, u64Max);
    expect(world.accounting.lockedByUser(7)).toBe(0);
  });

  test('whoever may lock all is not counted; a process counts for itself in mode 1', () => {
    const free = setUp({ mayLockAll: true });
    attachOne(free, free.ioasId);
    expect(free.map({ length: 8n * PAGE })).toBe(PAGE);
    expect(free.accounting.lockedByUser(7)).toBe(0);
    const world = setUp();
    world.iommufd.destroy(world.ioasId);
    world.option(RLIMIT, SET, 0, 1n);
    world.iommufd.ioasAlloc();
    attachOne(world, world.ioasId);
    expect(world.map({ length: 4n * PAGE })).toBe(PAGE);
    expect([world.accounting.lockedByUser(7), world.accounting.lockedByProcess(70)]).toEqual([
      0, 4,
    ]);
    world.become({ processId: 71 });
    expect(world.map({ length: 4n * PAGE, iova: 0x1_0000n })).toBe(0x1_0000n);
    expect(world.accounting.lockedByProcess(71)).toBe(4);
  });

  test('two maps of the same memory are charged twice, a copy never', () => {
    const world = setUp();
    attachOne(world, world.ioasId);
    world.map({ length: 2n * PAGE });
    const ids = { dstIoasId: world.ioasId, srcIoasId: world.ioasId };
    const copy = { ...ids, flags: FIXED | R, length: 2n * PAGE, srcIova: PAGE, dstIova: 0x1_0000n };
    world.iommufd.ioasCopy(copy);
    expect(world.accounting.lockedByUser(7)).toBe(2);
    world.map({ length: 2n * PAGE, iova: 0x2_0000n });
    expect(world.accounting.lockedByUser(7)).toBe(4);
    world.unmap(PAGE, 2n * PAGE);
    expect(world.accounting.lockedByUser(7)).toBe(4);
    world.unmap(0x1_0000n, 2n * PAGE);
    expect(world.accounting.lockedByUser(7)).toBe(2);
  });

  test('I7 the charge is the number of distinct pinned pages of each source', () => {
    const slice = fc.record({ first: fc.nat(7), pages: fc.integer({ min: 1, max: 4 }) });
    fc.assert(
      fc.property(fc.array(slice, { maxLength: 8 }), fc.infiniteStream(fc.nat(7)), (all, drop) => {
        const world = setUp({ lockedPagesMax: 1000 });
        world.map({ iova: 0n, length: 8n * PAGE });
        const target = world.iommufd.ioasAlloc();
        attachOne(world, target);
        const live: { at: bigint; first: number; end: number }[] = [];
        const check = () => {
          const distinct = new Set<number>();
          for (const { first, end } of live) {
            for (let page = first; page < end; page++) distinct.add(page);
          }
          expect(world.accounting.lockedByUser(7)).toBe(distinct.size);
        };
        for (const [index, { first, pages }] of all.entries()) {
          const end = Math.min(8, first + pages);
          const at = BigInt(index + 1) * 0x1_0000n;
          const length = BigInt(end - first) * PAGE;
          const ids = { dstIoasId: target, srcIoasId: world.ioasId };
          const srcIova = BigInt(first) * PAGE;
          world.iommufd.ioasCopy({ ...ids, flags: FIXED | R | W, length, srcIova, dstIova: at });
          live.push({ at, first, end });
          check();
        }
        for (const each of drop) {
          const gone = live.splice(each % Math.max(1, live.length), 1)[0];
          if (gone === undefined) break;
          world.unmap(gone.at, BigInt(gone.end - gone.first) * PAGE, target);
          check();
        }
        expect(world.extents.count).toBe(0);
      }),
      { numRuns: 40 },
    );
  });
});

describe('CHANGE_PROCESS', () => {
  test('an empty context is fine; memory that is no file is EINVAL', () => {
    const world = setUp();
    expect(errnoOf(() => world.iommufd.changeProcess())).toBeUndefined();
    world.map();
    const other = world.iommufd.ioasAlloc();
    const what = { flags: FIXED | R, ioasId: other, userVa: PAGE, length: PAGE, iova: 0n };
    world.iommufd.ioasMap(what);
    expect(errnoOf(() => world.iommufd.changeProcess())).toBe('EINVAL');
    const plain = createIoasWorld();
    attachOne(plain, plain.ioasId);
    plain.map();
    expect(errnoOf(() => plain.iommufd.changeProcess())).toBeUndefined();
  });

  test('moves the charge to who calls, all or nothing', () => {
    const world = setUp();
    attachOne(world, world.ioasId);
    world.map({ length: 3n * PAGE });
    world.become({ userId: 8, processId: 80, lockedPagesMax: 2 });
    expect(errnoOf(() => world.iommufd.changeProcess())).toBe('ENOMEM');
    expect([world.accounting.lockedByUser(7), world.accounting.lockedByUser(8)]).toEqual([3, 0]);
    world.become({ lockedPagesMax: 3 });
    world.iommufd.changeProcess();
    world.iommufd.changeProcess();
    expect([world.accounting.lockedByUser(7), world.accounting.lockedByUser(8)]).toEqual([0, 3]);
    world.become({ userId: 9 });
    world.unmap(0n, u64Max);
    expect(world.accounting.lockedByUser(8)).toBe(0);
  });

  test('another process of the same user pays for a moment twice', () => {
    const world = setUp({ lockedPagesMax: 5 });
    attachOne(world, world.ioasId);
    world.map({ length: 3n * PAGE });
    world.become({ processId: 71 });
    expect(errnoOf(() => world.iommufd.changeProcess())).toBe('ENOMEM');
    world.become({ lockedPagesMax: 6 });
    expect(errnoOf(() => world.iommufd.changeProcess())).toBeUndefined();
    expect(world.accounting.lockedByUser(7)).toBe(3);
  });
});

test('without huge pages every entry of a table is one page', () => {
  const world = setUp({ lockedPagesMax: 10_000 });
  world.option(HUGE, SET, world.ioasId, 0n);
  attachOne(world, world.ioasId);
  const before = world.pool.usedCount;
  world.map({ iova: BigInt(2 * MiB), length: BigInt(2 * MiB) });
  const small = world.pool.usedCount - before;
  world.unmap(0n, u64Max);
  world.option(HUGE, SET, world.ioasId, 1n);
  world.map({ iova: BigInt(2 * MiB), length: BigInt(2 * MiB) });
  expect(world.pool.usedCount - before).toBeLessThan(small);
});
